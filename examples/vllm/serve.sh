#!/usr/bin/env bash
# A server with a compressed cache, one question, and the end of the server.
#
#   examples/vllm/serve.sh MODEL [CACHE]        MODEL: a folder or a name of the hub; CACHE: a cache type (default k3v2)
#
# Of a cache of 1 GiB the log says how many tokens it holds, and how many vLLM's own would.
set -euo pipefail
model=$1 cache=${2:-k3v2} port=${PORT:-8000}

vllm serve "$model" --served-model-name model --port "$port" --max-num-seqs 16 --kv-cache-memory-bytes $((1 << 30)) \
  --additional-config "{\"qjl\": {\"cache\": \"$cache\"}}" &
server=$!
trap 'kill "$server"; wait "$server" || true' EXIT

until curl -sf "http://127.0.0.1:$port/health"; do
  kill -0 "$server" || { echo "the server ended" >&2; trap - EXIT; exit 1; }
  sleep 1
done
curl -s "http://127.0.0.1:$port/v1/completions" -H 'Content-Type: application/json' \
  -d '{"model": "model", "prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}'
echo
