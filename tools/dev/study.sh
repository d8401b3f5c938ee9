# Studies: rows in docs/results, tables and pictures of them. Sourced by ./dev.
# shellcheck shell=bash

presets=k2v2,k3v2,k3v3,k4v3,k4v4
host_presets=t2v2,t3v2,t3v3,t4v4,k5v4,k5v5,k6v5,k6v6
plans=$(printf ',examples/plans/smollm2-135m-%s.json' 2.25 2.7 3.25 3.75)
rivals=paper,fp8,fp8_token,int8_token,int4_token,nvfp4,nvfp4_4over6,kvarn_k4v2,q8_0,q4_0,q4_0h,int4,int2,kivi4,kivi2,kvquant4,kvquant3,polar4,tq4,tq3,tq2,tqprod4,tqprod3,qjl3,qjl_repo

# The folder of the texts that are too large for the repository. A relative name, so that results do not name a machine.
texts_folder() {
  local folder=${QJL_TEXTS:-../shared/data}
  [[ -d $folder/eval_texts ]] || { say "found no texts in $folder, wanted the files of tools/study/texts.json (QJL_TEXTS)"; exit 1; }
  echo "$folder"
}

need_study() {
  build release qjl_program
  verb_model >/dev/null
  need_python tools/study/requirements.txt
  mkdir -p docs/results
}

# The same words for every model: what one has more is its context.
study_models() {
  local words=(--texts tools/study/texts.json --folder "$(texts_folder)" --only moby --positions 1024 --cache "$presets,$host_presets")
  verb_model gemma >/dev/null
  build/release/qjl study rate -m "$model" --contexts 4096 "${words[@]}" -o docs/results/models.jsonl "$@"
  build/release/qjl study rate -m "$gemma" --contexts 4096,16384,32768 "${words[@]}" -o docs/results/models.jsonl "$@"
  .venv/bin/python tools/study/report.py models
}

verb_study() {
  local name=${1:-}
  (($#)) && shift
  [[ $name =~ ^(rate|retrieval|distortion|sensitivity|models)$ ]] || { usage >&2 && exit 2; }
  need_study
  [[ $name == models ]] && { study_models "$@"; return; }
  local words=(study "$name" -m "$model" -o "docs/results/$name.jsonl") folder
  if [[ $name == retrieval ]]; then
    .venv/bin/python tools/study/retrieval_cases.py >build/release/retrieval_cases.jsonl
    words+=(--cases build/release/retrieval_cases.jsonl --cache "f16,$presets$plans,q8_0,q4_0h,kivi4,kivi2,tq4,tq3")
  else
    folder=$(texts_folder)
    words+=(--texts tools/study/texts.json --folder "$folder")
    [[ $name == rate ]] && words+=(--cache "$presets,$host_presets$plans,$rivals")
    [[ $name == distortion ]] && words+=(--cache "$presets,$rivals" --only "book,wiki,news,code")
    [[ $name == sensitivity ]] && words+=(--only "book,wiki" -c 2048 --positions 256)  # 180 evaluations a text
  fi
  if [[ $name == distortion ]]; then
    local captured=$folder/kv_santacoder/santacoder
    if [[ -e ${captured}_k_24x5x128_f32.npy ]]; then
      words+=(--keys "${captured}_k_24x5x128_f32.npy" --values "${captured}_v_24x5x128_f32.npy")
    else
      say "no captured tensors of head_dim 128 in $folder/kv_santacoder: the model's own alone"
    fi
  fi
  build/release/qjl "${words[@]}" "$@"
  .venv/bin/python tools/study/report.py "$name"
}

verb_inspect() {
  need_study
  build/release/qjl inspect -m "$model" -f examples/texts/south.txt --json -o docs/results/channels.json "$@"
  .venv/bin/python tools/study/report.py channels
}
