# Benchmarks. Sourced by ./dev.
# shellcheck shell=bash disable=SC2154  # names that other parts set

# Timings mean something only when nothing else runs.
verb_bench() {
  local words=() word quick=0
  for word in "$@"; do
    if [[ $word == --quick ]]; then quick=1; else words+=("$word"); fi
  done
  if [[ ${words[0]:-} == vllm ]]; then
    bench_vllm "${words[@]:1}"
    return
  fi
  build release qjl_bench
  if [[ ${words[*]} == engine ]]; then
    build release qjl_engine_bench
    verb_model >/dev/null
    python3 bench/engine/engine_alone.py --model "$model"
    return
  fi
  if [[ ${words[0]:-} == python ]]; then
    bench_python "${words[@]:1}"
    return
  fi
  if ((quick)); then
    build/release/qjl_bench quick "${words[@]}"
    return
  fi
  need_python bench/requirements.txt
  .venv/bin/python bench/run.py "${words[@]}"
  bench_report
}

# The cache in Transformers beside those that Transformers has. Options of bench/python/transformers_bench.py may follow.
bench_python() {
  need_python tests/python/requirements.txt
  need_python python/requirements-hf.txt
  need_python bench/requirements.txt
  need_package
  build release qjl_engine_bench
  verb_model >/dev/null
  local folder
  folder=$(.venv/bin/python tools/hf_model.py smollm2)
  .venv/bin/python bench/python/transformers_bench.py --model "$model" --folder "$folder" "$@"
  bench_report
}

# vLLM with its own caches and with ours.
bench_vllm() {
  verb_model >/dev/null
  need_vllm
  need_python python/requirements-hf.txt
  local folder
  folder=$(.venv/bin/python tools/hf_model.py smollm2)
  "$(vllm_python)" bench/serving/vllm_caches.py --model "$folder" "$@"
}

bench_report() { .venv/bin/python bench/report/report.py && say "wrote docs/results/speed.md"; }

# llama.cpp, compiled by pip for this processor, in an environment outside the checkout; minutes at first use.
verb_bench_peers() {
  local folder=${XDG_CACHE_HOME:-$HOME/.cache}/qjl/peers python
  build release qjl_bench
  build release qjl_engine_bench
  verb_model >/dev/null
  need_python bench/requirements.txt
  if ! "$folder/venv/bin/python" -c 'import llama_cpp, numpy' 2>/dev/null; then
    python=$(find_python)
    say "compiling llama-cpp-python 0.3.36 into $folder (once; some minutes)"
    "$python" -m venv "$folder/venv"
    CMAKE_ARGS=-DGGML_NATIVE=ON "$folder/venv/bin/pip" install -q --no-cache-dir --disable-pip-version-check llama-cpp-python==0.3.36 >&2
  fi
  .venv/bin/python bench/run.py --peers --peers-python "$folder/venv/bin/python" "$@"
  bench_report
}
