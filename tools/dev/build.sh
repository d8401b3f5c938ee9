# Building a preset, and the documents that programs write. Sourced by ./dev.
# shellcheck shell=bash disable=SC2154  # names that other parts set

verb_build() { build "${1:-release}" all; }

build() {  # PRESET TARGET
  local preset=$1 options=()
  need_packages "${build_packages[@]}"
  if [[ ! $preset =~ ^(aarch64|cuda|gpu)$ ]]; then  # those have no server
    need_xgrammar
    options=("-DQJL_XGRAMMAR=$PWD/$xgrammar")
  fi
  say "building $preset"
  cmake --preset "$preset" --log-level=WARNING "${options[@]}" >&2
  cmake --build --preset "$preset" --target "$2" >&2
}

verb_docs() {
  build release all
  build/release/write_format_doc >docs/format.md.part
  mv docs/format.md.part docs/format.md
  build/release/write_format_example >docs/format_example.md.part
  mv docs/format_example.md.part docs/format_example.md
  build/release/write_cache_file_doc >docs/cache_file.md.part
  mv docs/cache_file.md.part docs/cache_file.md
}
