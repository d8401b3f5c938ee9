"""python -m qjl.lm_eval and python -m qjl.longbench as a person calls them, on a small model and data of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from qjl import longbench
from saved_model import save_model

pytest.importorskip("lm_eval", reason="needs lm-eval: pip install qjl[lm_eval]")

TASK = """
task: tiny
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["yes", "no"]
doc_to_target: gold
metric_list:
  - metric: acc
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def write_lines(path: Path, *lines: object) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_lm_eval_without_a_page(model, tmp_path):
    """No prompt fills a page: the figures would be those of the exact cache, which a run must not hide. test_hf_examples.py has one that
    reads pages."""
    write_lines(tmp_path / "data.jsonl", *({"question": "abc " * (3 + i), "gold": i % 2} for i in range(2)))
    (tmp_path / "tiny.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
    words = ["run", "--model", "qjl", "--model_args", f"pretrained={model},cache=k2v2,chunk=8,dtype=float32"]
    words += ["--tasks", "tiny", "--include_path", str(tmp_path), "--batch_size", "2"]
    home = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "qjl.lm_eval", *words]
    done = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("compressed tokens read: 0\n") and "no prompt filled a page" in done.stderr


def test_longbench_e(model, tmp_path, capsys):
    """In this process; test_hf_examples.py calls the command."""
    write_lines(
        tmp_path / "trec_e.jsonl", *({"input": "a" * n, "answers": ["b"], "all_classes": ["b", "c"], "length": n} for n in (9, 400))
    )
    (tmp_path / "dataset2prompt.json").write_text('{"trec": "{input}"}')
    words = ("--model", model, "--name", "tiny", "--cache", "k3v2", "--data", tmp_path, "--datasets", "trec")
    more = ("--max-length", 300, "--max-new-tokens", 5, "--e", "--out", tmp_path / "out")
    assert longbench.main([str(word) for word in (*words, *more)]) == 0
    lines = (tmp_path / "out/pred_e/tiny/trec.jsonl").read_text().splitlines()
    assert [json.loads(line)["length"] for line in lines] == [9, 400]
    assert "2 answers added" in capsys.readouterr().out
