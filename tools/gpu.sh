#!/usr/bin/env bash
# Everything that takes a device: what `./dev gpu` runs when the programs are there. Needs bash and the programs; python3 with torch,
# compute-sanitizer and ncu have their turn where they are found. Each stage has a limit and all of them together one, so that what
# comes first is never lost to what comes later.
# Usage: gpu.sh PROGRAMS RESULTS [SECONDS]     PROGRAMS: folder of the device tests and qjl_gpu_bench; RESULTS gets gpu.jsonl and logs
set -uo pipefail
programs=$1 results=$2 deadline=${3:-530}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export QJL_CPU_TARGET=scalar  # the tests' bounds are those of the CPU's exact loops
PATH=$PATH:/usr/local/cuda/bin
mkdir -p "$results"
rm -f "$results"/*.{jsonl,log}
rows=$results/gpu.jsonl
failed=()

say() { echo "== $*" >&2; }

# stage NAME SECONDS COMMAND...: within its limit and what is left of all time; a row with its exit status and time.
stage() {
  local name=$1 limit=$2 status=0 begin=$SECONDS
  shift 2
  ((limit <= deadline - SECONDS)) || limit=$((deadline - SECONDS))
  if ((limit < 3)); then
    status=124
  else
    say "$name (at most $limit s)"
    timeout -k 3 "$limit" "$@" || status=$?
  fi
  echo "{\"case\": \"stage\", \"name\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - begin))}" >>"$rows"
  ((status == 0)) && return
  failed+=("$name")
  if ((status == 124)); then say "$name: out of time"; else say "$name: failed with status $status"; fi
  return "$status"
}

# One suite in a process of its own: after a fault of the device nothing else works there. A test that is skipped has tested nothing.
run_suite() {  # PROGRAM SUITE
  local log=$results/$2.log status=0
  "$programs/$1" --gtest_filter="*$2.*" >"$log" 2>&1 || status=$?
  if ((status == 0)) && grep -q -e '\[  SKIPPED \]' -e 'no device: ' "$log"; then status=77; fi
  ((status == 0)) || { echo "---- $2: status $status"; tail -n 25 "$log"; }
  grep -h -e '^\[  PASSED' -e '^\[  FAILED' "$log" | sed "s/^/$2 /"
  return "$status"
}
run_tests() {
  local program suite status=0 pids=() pid
  for program in cuda_device_test cuda_verbs_device_test; do
    for suite in $("$programs/$program" --gtest_list_tests | sed -n 's/^\(.*\/\)\{0,1\}\([A-Za-z]*\)\.$/\2/p'); do
      run_suite "$program" "$suite" &
      pids+=($!)
    done
  done
  ((${#pids[@]})) || status=1
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return "$status"
}

run_bench() { "$programs/qjl_gpu_bench" "$@" | tee -a "$rows"; }

# Pages of two types sealed, attended and moved: the paths of signs and of levels, encoders, copies.
sanitize() {  # TOOL
  compute-sanitizer --tool "$1" --error-exitcode 1 "$programs/cuda_device_test" --gtest_filter='*CudaCaches.*/0:*CudaCaches.*/1:*CudaSequences.AreCut/0' \
    >"$results/$1.log" 2>&1 || { tail -n 25 "$results/$1.log"; return 1; }
  tail -n 1 "$results/$1.log"
}

run_torch() {
  if python3 -c 'import torch' 2>/dev/null; then
    python3 "$here/bench/gpu/torch_rival.py" | tee -a "$rows"
  else
    echo '{"case": "torch", "absence": "no python3 with torch"}' | tee -a "$rows"
  fi
}

# One launch of each attend kernel at 128k tokens.
profile() {
  ncu --clock-control none --kernel-name regex:attend --section SpeedOfLight --section MemoryWorkloadAnalysis \
    --section WarpStateStats --section SchedulerStats --section Occupancy --section LaunchStats \
    "$programs/qjl_gpu_bench" once 131072 1 >"$results/ncu.log" 2>&1 || { tail -n 5 "$results/ncu.log"; return 1; }
  grep -E 'attend_|Duration|Memory Throughput|Executed Ipc Active|Registers Per' "$results/ncu.log" | head -n 60
}

export -f run_suite run_tests run_bench sanitize run_torch profile
export programs results rows here
in_shell() { stage "$1" "$2" bash -c 'set -uo pipefail; "$@"' bash "${@:3}"; }

in_shell machine 60 run_bench machine || exit 1
in_shell tests 120 run_tests
in_shell benchmark 170 run_bench
for tool in memcheck racecheck; do
  if command -v compute-sanitizer >/dev/null; then
    in_shell "$tool" 60 sanitize "$tool"
  else
    say "no compute-sanitizer here: $tool not done"
  fi
done
in_shell torch 75 run_torch
if command -v ncu >/dev/null; then in_shell profile 45 profile; else say "no ncu here: no profile"; fi
python3 "$here/bench/gpu/summary.py" "$rows" || true
say "wrote $results after $SECONDS s; failed: ${failed[*]:-none}"
((${#failed[@]} == 0))
