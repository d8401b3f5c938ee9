# Tests: C++ here and on an emulated processor, every GPU architecture compiled, Python; sanitizers, lint and fuzzers. Sourced by ./dev.
# shellcheck shell=bash disable=SC2154  # names that other parts set

output_bytes=10000000  # that a report keeps of a test which passed; what was skipped stands in it

verb_test() {
  need_python tests/python/requirements.txt
  need_python bench/requirements.txt
  verb_build
  verb_model >/dev/null
  local reports=$PWD/build/release/reports failed=0
  mkdir -p "$reports"
  rm -f "$reports"/*.xml
  ctest --test-dir build/release -j "$(nproc)" --output-on-failure --no-tests=error --output-junit "$reports/ctest.xml" \
    --test-output-size-passed "$output_bytes" || failed=1
  need_other_tools
  need_chromium
  need_python tests/server/requirements.txt
  local has_package=1
  need_all_of_package || has_package=0 failed=1
  # What the server's tests and the package's leave idle goes to the program's, and what those leave to compiling for other processors.
  say "compiling for other processors and testing the program meanwhile, logs in $reports"
  test_others "$reports" >"$reports/others.log" 2>&1 &
  local others=$!
  test_program "$reports" beside >"$reports/program.log" 2>&1 &
  local program=$!
  test_server "$reports" || failed=1
  ((!has_package)) || test_package "$reports" || failed=1
  wait "$program" || failed=1
  cat "$reports/program.log"
  wait "$others" || failed=1
  cat "$reports/others.log"
  test_program "$reports" alone || failed=1
  .venv/bin/python tools/sum_reports.py "$reports"/*.xml || failed=1
  return $failed
}

# Installed before anything goes side by side.
need_other_tools() {
  [[ $(uname -m) == x86_64 ]] || return 0
  need_packages g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static googletest
  need_nvcc >/dev/null
  need_cuda_packages
}

# For the page in a browser. Where Debian's cannot be had without a question (121 MB to load) the test of it is skipped.
need_chromium() {
  if [[ ! $(uname -m) =~ ^(x86_64|aarch64)$ ]] || ! grep -qx 'ID=debian' /etc/os-release; then
    say "not a Debian with Chromium: without one the page is not tried in a browser"
  elif ((EUID != 0)) && ! sudo -n true 2>/dev/null && ! command -v chromium >/dev/null; then
    say "no Chromium, and installing it takes a password: the page is not tried in a browser"
  elif ((EUID == 0)) || sudo -n true 2>/dev/null; then
    need_packages chromium chromium-driver || say "no Chromium: the page is not tried in a browser"
  fi
}

test_others() {  # REPORTS
  renice -n 19 -p "$BASHPID" >/dev/null
  test_other_processor "$1" && build_all_gpus
}

# The program and its parts. Beside others: all but what takes a quiet machine or the builds for other processors, which is `alone`.
test_program() {  # REPORTS beside|alone
  local marked=alone
  if [[ $2 == beside ]]; then
    renice -n 10 -p "$BASHPID" >/dev/null
    marked="not alone"
  fi
  .venv/bin/python -m pytest -q tests/python -m "$marked" --junitxml "$1/pytest_$2.xml"
}

# `qjl serve` asked by the clients that people use; its page in a browser where there is one.
test_server() {  # REPORTS
  .venv/bin/python -m pytest -q tests/server --junitxml "$1/pytest_server.xml"
}

# The Python package, built as a wheel and installed, and its cache in Transformers.
test_package() {  # REPORTS
  .venv/bin/python -m pytest -q tests/python_package --junitxml "$1/pytest_package.xml"
}

need_all_of_package() {
  need_package || return
  need_python python/requirements-hf.txt || return
  need_old_transformers || say "no older Transformers: the test of it is left out"
  verb_model gemma >/dev/null
}

# The CUDA back end for every architecture that it supports, warnings as errors. Running it takes a device: ./dev gpu.
build_all_gpus() {
  [[ $(uname -m) == x86_64 ]] || return 0
  local nvcc
  nvcc=$(need_nvcc)
  say "compiling the CUDA kernels for every architecture"
  cmake --preset cuda --log-level=WARNING -DCMAKE_CUDA_COMPILER="$nvcc" >&2
  cmake --build --preset cuda --target qjl_cuda qjl_gpu_bench_objects >&2
}

# The kernels of 64-bit Arm, crossed and run under an emulator; on such a machine the tests above have run them.
test_other_processor() {  # REPORTS
  if [[ $(uname -m) == aarch64 ]]; then
    say "this machine is aarch64: its tests need no emulator"
    return
  fi
  build aarch64 all || return
  ctest --test-dir build/aarch64 -j "$(nproc)" --output-on-failure --no-tests=error --output-junit "$1/ctest_aarch64.xml" \
    --test-output-size-passed "$output_bytes"
}

run_sanitized() {
  verb_build "$1"
  verb_model >/dev/null
  ctest --test-dir "build/$1" -j "$(nproc)" --output-on-failure --no-tests=error
}
verb_asan() { UBSAN_OPTIONS=print_stacktrace=1 run_sanitized asan; }
verb_tsan() { run_sanitized tsan; }

sources() { git ls-files --cached --others --exclude-standard -- "$@"; }

verb_lint() {
  need_packages clang-format-19
  need_python tools/requirements-lint.txt
  local failed=0
  if [[ ${1:-} == fix ]]; then
    sources '*.cpp' '*.hpp' '*.h' '*.c' '*.cu' '*.cuh' | xargs clang-format-19 -i
    .venv/bin/ruff check -q --fix . || true
    .venv/bin/ruff format -q .
  fi
  sources '*.cpp' '*.hpp' '*.h' '*.c' '*.cu' '*.cuh' | xargs clang-format-19 --dry-run -Werror || failed=1
  .venv/bin/ruff check . || failed=1
  .venv/bin/ruff format --check . || failed=1
  .venv/bin/typos || failed=1
  .venv/bin/python tools/check_house.py || failed=1
  if ((failed)); then say "lint found faults"; else say "lint found nothing"; fi
  return $failed
}

verb_fuzz() {
  need_packages "${build_packages[@]}" clang-19 libclang-rt-19-dev
  verb_build fuzz
  local fuzzer
  for fuzzer in build/fuzz/*_fuzz; do
    if [[ ${1:-} == seeds ]]; then
      fuzz_once "$fuzzer" -runs=0
      continue
    fi
    say "$fuzzer for ${1:-60} s"
    fuzz_once "$fuzzer" -max_total_time="${1:-60}" -max_len=20000
    say "$fuzzer with megabytes"
    fuzz_big "$fuzzer"
  done
}

fuzz_options=(-timeout=10 -rss_limit_mb=2048 -artifact_prefix=build/fuzz/)  # ten seconds for one input are a fault, too

fuzz_once() {  # FUZZER OPTION...
  local fuzzer=$1 corpus=build/fuzz/corpus/${1##*/}
  shift
  mkdir -p "$corpus"
  "$fuzzer" "${fuzz_options[@]}" -print_final_stats=1 "$@" "$corpus"
}

# Twenty inputs of the corpus, each repeated to four megabytes: by itself libFuzzer does not get that far from small seeds.
# What grows with the square of the input takes far more than a minute.
fuzz_big() {  # FUZZER
  local corpus=build/fuzz/corpus/${1##*/} folder=build/fuzz/big/${1##*/} seed big
  rm -rf "$folder"
  mkdir -p "$folder"
  while IFS= read -r -d '' seed; do
    big=$folder/${seed##*/}
    cp "$seed" "$big"
    while (($(stat -c %s "$big") < 4000000)); do
      cat "$big" "$big" >"$folder.part"
      mv "$folder.part" "$big"
    done
    truncate -s 4000000 "$big"
  done < <(find "$corpus" -type f -size +0 -print0 | sort -z | head -z -n 20)
  "$1" "${fuzz_options[@]}" -timeout=60 "$folder"/*
}

# The program and the library for C from two folders.
verb_same_bytes() {
  need_packages "${build_packages[@]}"
  need_xgrammar
  cmake -DXGRAMMAR="$PWD/$xgrammar" -DSOURCE="$PWD" -DSCRATCH="$PWD/build/same_bytes" -DC="${CC:-cc}" -DCXX="${CXX:-c++}" -DTYPE=Release \
    "-DTARGETS=qjl_program;qjl_c" "-DFILES=qjl;*.so;*.a" -P tests/binaries/same_bytes.cmake
}

# What is too long for every change: sanitizers, fuzzers, mutants. Prints what each part took; one that fails does not keep the others
# from running.
verb_check_all() {
  local part start failed=0 end
  for part in "asan" "tsan" "same-bytes" "fuzz 60" "mutate --count 200"; do
    start=$SECONDS end=passed
    # shellcheck disable=SC2086  # words; a process of its own, because bash would not stop at a fault behind ||
    ./dev $part || end=FAILED failed=1
    say "$part: $end after $((SECONDS - start)) s"
  done
  return $failed
}

verb_mutate() {
  need_venv  # mutate.py is of the standard library
  .venv/bin/python tools/mutate.py "$@"
}
