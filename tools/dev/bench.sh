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
  if [[ ${words[0]:-} == against ]]; then
    bench_against "${words[@]:1}"
    return
  fi
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

# This state beside an earlier one, which is built in a folder of its own. Options of bench/engine/compare_builds.py may follow.
bench_against() {  # COMMIT [OPTION...]
  local commit folder
  commit=$(git rev-parse --verify --quiet "${1:-}^{commit}") || { say "bench against: found '${1:-}', wanted a commit"; return 2; }
  folder=build/against/$commit
  if [[ ! -x $folder/build/release/qjl_engine_bench ]]; then
    say "building ${commit:0:10} in $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    git archive "$commit" | tar -x -C "$folder"
    # As far from its sources as this build, and with their folder as the base: ccache gives what was compiled before.
    (cd "$folder" && export CCACHE_BASEDIR=$PWD && cmake --preset release --log-level=WARNING -DQJL_CUDA=OFF &&
      cmake --build --preset release --target qjl_bench qjl_engine_bench) >&2
  fi
  build release qjl_engine_bench
  verb_model >/dev/null
  python3 bench/engine/compare_builds.py --model "$model" --before "$folder/build/release" "${@:2}"
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

# `qjl serve` beside llama-server, and by itself; writes docs/results/serve.md. `load` is a mixed load whose memory is watched.
verb_bench_serve() {  # [PART...] [--quick] [--again], or load [--seconds N]
  build release qjl_program
  verb_model >/dev/null
  need_venv
  if [[ ${1:-} == load ]]; then
    .venv/bin/python bench/serving/mixed_load.py --program build/release/qjl --model "$model" "${@:2}"
    return
  fi
  build release qjl_bench
  build release qjl_engine_bench
  local peer q4_0=${model/Q4_1/Q4_0}
  peer=$(need_llama_server)
  if [[ ! -e $q4_0 ]]; then
    say "making ${q4_0##*/}"
    "${peer%/*}/llama-quantize" --allow-requantize "$model" "$q4_0.part" Q4_0 2 >&2
    mv "$q4_0.part" "$q4_0"
  fi
  .venv/bin/python bench/serving/serve_bench.py --peer "$peer" --model "$model" --q4-0 "$q4_0" "$@"
}

# llama-server and its quantiser from the sources that bench-peers pins, compiled outside the checkout; prints the server's path.
need_llama_server() {
  local folder=${XDG_CACHE_HOME:-$HOME/.cache}/qjl/peers/llama-server sources
  local sum=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
  echo "$folder/llama-server"
  [[ -x $folder/llama-server && -x $folder/llama-quantize ]] && return
  need_packages cmake ninja-build g++
  mkdir -p "$folder"
  sources=$(mktemp -d "$folder/sources.XXXXXX")
  say "getting llama-cpp-python 0.3.36 (77 MB) and compiling llama-server into $folder (once; some minutes)"
  .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$sources" llama-cpp-python==0.3.36 >&2
  sha256sum --check --status <<<"$sum  $(echo "$sources"/*.tar.gz)" || { say "the sources that arrived have a wrong checksum"; return 1; }
  tar -xzf "$sources"/*.tar.gz -C "$sources"
  cmake -G Ninja -S "$sources"/llama_cpp_python-0.3.36/vendor/llama.cpp -B "$sources/build" --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF >&2
  cmake --build "$sources/build" --target llama-server llama-quantize >&2
  mv "$sources"/build/bin/llama-server "$sources"/build/bin/llama-quantize "$folder/"
  rm -rf "$sources"
}
