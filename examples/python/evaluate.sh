#!/usr/bin/env bash
# lm-eval and LongBench over the compressed cache, without a network: a task and a dataset of their own, made of one text.
#
#   examples/python/evaluate.sh MODEL [FOLDER] [CACHE...]       (default: folder evaluation, caches f16 and k3v2)
#
# MODEL is a folder of Transformers. FOLDER gets the data, lm-eval's results, LongBench's answers and a picture of the scores.
# `python` needs qjl with its extras hf, lm_eval and plots. Answers are scored by what LongBench itself brings, which is not part of this.
set -euo pipefail

model=${1:?usage: evaluate.sh MODEL [FOLDER] [CACHE...]}
folder=${2:-evaluation}
caches=("${@:3}")
((${#caches[@]})) || caches=(f16 k3v2)
text=$(dirname "${BASH_SOURCE[0]}")/../texts/south.txt
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
mkdir -p "$folder/lm_eval"
rm -f "$folder"/lm_eval/*.json
model=$(realpath "$model")
folder=$(realpath "$folder")

# lm-eval: which of two sentences goes on after a page of text. LongBench: the same page, and a question.
python - "$text" "$folder" <<'PYTHON'
import json, pathlib, re, sys

text, folder = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"), pathlib.Path(sys.argv[2])
sentences = re.split(r"(?<=[.!?])\s+", text)
pages = [(" ".join(sentences[i : i + 12]), sentences[i + 12], sentences[i + 40]) for i in range(0, 80, 10)]
choices = [{"page": page, "next": right, "later": wrong} for page, right, wrong in pages]
questions = [
    {"input": "Where is the ship?", "context": page, "answers": [right], "all_classes": None, "length": len(page.split())}
    for page, right, _ in pages[:2]
]
for name, lines in (("choices", choices), ("qasper", questions)):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
(folder / "dataset2prompt.json").write_text(json.dumps({"qasper": "{context}\n\nQuestion: {input}\nAnswer:"}))
(folder / "south.yaml").write_text(f"""
task: south
dataset_path: json
dataset_kwargs: {{data_files: {{test: {json.dumps(str(folder / "choices.jsonl"))}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{page}}}}"
doc_to_choice: ["{{{{next}}}}", "{{{{later}}}}"]
doc_to_target: 0
metric_list: [{{metric: acc}}]
""")
PYTHON

for cache in "${caches[@]}"; do
  python -m qjl.lm_eval run --model qjl --model_args "pretrained=$model,cache=$cache,dtype=float32" --tasks south \
    --include_path "$folder" --batch_size 4 --output_path "$folder/lm_eval/$cache.json"
  python -m qjl.longbench --model "$model" --name "$cache" --cache "$cache" --data "$folder" --datasets qasper \
    --max-length 2000 --max-new-tokens 20 --out "$folder"
done
python -m qjl.plots longbench "$folder"/lm_eval/*.json -o "$folder/scores.svg"
