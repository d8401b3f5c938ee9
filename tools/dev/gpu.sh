# The device programs: built anywhere, run where a GPU is. Sourced by ./dev.
# shellcheck shell=bash

# Everything that takes a device, in under 9 minutes: tools/gpu.sh with the programs of build/gpu/run. `build` makes that folder,
# which may travel to a machine that cannot build; there, while the sources are the same, nothing is built again.
gpu_programs=(qjl_gpu_bench cuda_device_test cuda_verbs_device_test)
gpu_packages=(cmake ninja-build g++ ccache nlohmann-json3-dev libcli11-dev libgtest-dev)

verb_gpu() {
  case ${1:-} in
    build) build_gpu "${2:-90-real}" ;;
    "") run_gpu ;;
    *) usage >&2 && exit 2 ;;
  esac
}

gpu_sources() {
  find CMakeLists.txt CMakePresets.json cmake include src bench/gpu tests/cuda tests/oracle tests/support -type f ! -name '*.py*' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16
}

build_gpu() {  # ARCHITECTURE, as CMake names it
  need_packages "${gpu_packages[@]}"
  local nvcc sources
  nvcc=$(need_nvcc)
  sources=$(gpu_sources)
  say "building the device programs for architecture $1"
  cmake --preset gpu --log-level=WARNING -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES="$1" >&2
  cmake --build --preset gpu --target "${gpu_programs[@]}" >&2
  rm -rf build/gpu/run
  mkdir -p build/gpu/run
  local name
  for name in "${gpu_programs[@]}"; do strip -s -o "build/gpu/run/$name" "build/gpu/$name"; done
  echo "$sources" >build/gpu/run/sources
  say "wrote build/gpu/run"
}

run_gpu() {
  if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && [[ ! -e /proc/driver/nvidia/version ]] && ! command -v nvidia-smi >/dev/null; then
    say "found no NVIDIA device on this machine, wanted one of compute capability 8.0 or later"
    say "(./dev gpu build makes the programs here; with the folder build/gpu/run another machine need not build)"
    return 1
  fi
  if [[ $(cat build/gpu/run/sources 2>/dev/null) != "$(gpu_sources)" ]]; then
    timeout 270 "$PWD/dev" gpu build native || {
      say "could not build here: on a machine that can, ./dev gpu build (or ./dev gpu build 80-real), then bring build/gpu/run"
      return 1
    }
  fi
  tools/gpu.sh build/gpu/run build/gpu/results $((530 - SECONDS))
}
