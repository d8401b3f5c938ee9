#!/usr/bin/env bash
# What `./dev demo` shows once everything is built: the cache types scored on a long text, then a question about it.
# Usage: demo.sh PROGRAM MODEL
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=$1 model=$2
text=examples/texts/south.txt
question="What is the name of the ship?"

port_file=$(mktemp)
server=
end() {
  [[ -z $server ]] || kill "$server"
  rm -f "$port_file"
}
trap end EXIT

title() { printf '\n%s\n\n' "$*"; }

title "Shackleton, South! (4096 tokens: 3072 exact, then 1024 scored through each cache; tok/s is decode speed after 4096 tokens)"
"$program" eval -m "$model" -f "$text" -c 4096 --prompt 3072 --cache f16,k2v2,k3v2,k3v3,k4v4 --decode 16

for cache in f16 k3v2; do
  title "Asked after the whole text, cache $cache: $question"
  "$program" run -m "$model" -f "$text" -p "$question" --chat-template auto --cache "$cache" -n 60 --log-level info
done

title "The same program as a server: one question to /v1/chat/completions, and what the cache says of itself"
"$program" serve -m "$model" --port 0 -c 4096 --cache-mb 256 >"$port_file" &
server=$!
until grep -q listening "$port_file"; do
  kill -0 "$server" || { server= && echo "the server ended before it listened" >&2 && exit 1; }
  sleep 0.2
done
url=$(grep -o 'http://.*' "$port_file")
.venv/bin/python - "$url" "What is the capital of France?" <<'PYTHON'
import json
import sys
import urllib.request

url, question = sys.argv[1:]
body = {"messages": [{"role": "user", "content": question}], "max_tokens": 40, "temperature": 0}
answer = json.load(urllib.request.urlopen(url + "/v1/chat/completions", json.dumps(body).encode()))
cache = json.load(urllib.request.urlopen(url + "/cache"))["caches"][0]
print(question, "->", answer["choices"][0]["message"]["content"])
print(f"cache {cache['cache_type']}: {cache['capacity_tokens']} tokens fit, {cache['capacity_tokens_f16']} of f16 would")
PYTHON
