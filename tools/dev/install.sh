# What must be installed: Debian packages, Python environments, a CUDA toolkit. Sourced by ./dev.
# shellcheck shell=bash

build_packages=(cmake ninja-build g++ pkg-config ccache libdnnl-dev libpcre2-dev libutf8proc-dev libcli11-dev nlohmann-json3-dev libspdlog-dev libboost1.81-dev libgtest-dev)

need_packages() {
  local missing=() name
  for name in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  local root=()
  ((EUID == 0)) || root=(sudo)
  say "installing ${missing[*]}"
  "${root[@]}" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# A Python that can make virtual environments: the one in the path, else Debian's.
find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  need_packages python3-venv
  echo /usr/bin/python3
}

need_venv() {
  [[ -x .venv/bin/pip ]] && return
  local python
  python=$(find_python)
  say "making .venv"
  "$python" -m venv .venv >&2
}

# need_python FILE: .venv has what a requirements file pins. A stamp of its checksum makes the second call instant.
need_python() {
  need_venv
  local stamp
  stamp=.venv/installed-$(sha256sum "$1" | cut -c1-16)
  [[ -e $stamp ]] && return
  say "installing the Python packages of $1"
  .venv/bin/python -m pip install -q --disable-pip-version-check -r "$1" >&2
  touch "$stamp"
}

# A CUDA compiler: the one in the path or at its usual place, else NVIDIA's packages (276 MB) in .cache/cuda. Prints nvcc's path.
need_nvcc() {
  command -v nvcc || PATH=$PATH:/usr/local/cuda/bin command -v nvcc && return
  need_cuda_packages
  echo "$PWD/.cache/cuda/toolkit/bin/nvcc"
}

# cuobjdump and nvdisasm come along: few toolkits on other machines have them.
need_cuda_packages() {
  local stamp
  stamp=.cache/cuda/installed-$(sha256sum tools/requirements-cuda.txt | cut -c1-16)
  [[ -e $stamp ]] && return
  say "getting a CUDA toolkit (105 MB to load)"
  local python
  python=$(find_python)
  rm -rf .cache/cuda
  "$python" -m venv .cache/cuda >&2
  .cache/cuda/bin/python -m pip install -q --disable-pip-version-check -r tools/requirements-cuda.txt >&2
  local toolkit
  toolkit=$(echo .cache/cuda/lib/python3*/site-packages/nvidia/cu13)
  ln -sfn lib "$toolkit/lib64"                         # where nvcc's profile looks
  ln -sfn libcudart.so.13 "$toolkit/lib/libcudart.so"  # what CMake takes a toolkit by
  ln -sfn "${toolkit#.cache/cuda/}" .cache/cuda/toolkit
  touch "$stamp"
}

# xgrammar's sources, by checksum, for cmake/QjlXgrammar.cmake.
xgrammar=.cache/xgrammar/xgrammar-0.2.9
xgrammar_sha256=87b466bca2475e29bb0323abc62c6c33cbcbcff47e5fb800a3e2099ac9620b90

need_xgrammar() (
  [[ -e $xgrammar ]] && return
  need_venv
  mkdir -p "${xgrammar%/*}"
  folder=$(mktemp -d "${xgrammar%/*}/part.XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  say "getting the sources of xgrammar 0.2.9 (3 MB)"
  .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps --no-binary xgrammar -d "$folder" xgrammar==0.2.9 >&2
  sha256sum --check --status <<<"$xgrammar_sha256  $(echo "$folder"/*.tar.gz)" || { say "the sources that arrived have a wrong checksum"; exit 1; }
  tar -xzf "$folder"/*.tar.gz -C "$folder"
  mv "$folder/${xgrammar##*/}" "$xgrammar"
)

verb_setup() {
  need_packages "${build_packages[@]}"
  need_venv
  need_xgrammar
}
