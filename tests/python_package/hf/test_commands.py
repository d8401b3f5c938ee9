"""python -m qjl.lm_eval and python -m qjl.longbench as a person calls them, on a small model and data of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
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


@pytest.fixture
def command(tmp_path):
    home = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", *map(str, words)]
        return subprocess.run(argv, env={**os.environ, **home}, capture_output=True, text=True, check=False)

    return run


def write_lines(path: Path, *lines: object) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(("words", "code"), [(60, 0), (3, 1)])
def test_lm_eval(model, command, tmp_path, words, code):
    """The second task has no prompt of a page: its figures would be those of the exact cache, which a run must not hide."""
    write_lines(tmp_path / "data.jsonl", *({"question": "abc " * (words + i), "gold": i % 2} for i in range(2)))
    (tmp_path / "tiny.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
    done = command(
        "qjl.lm_eval", "run", "--model", "qjl", "--model_args", f"pretrained={model},cache=k2v2,chunk=8,dtype=float32",
        "--tasks", "tiny", "--include_path", tmp_path, "--batch_size", 2,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    read = int(done.stdout.rpartition("compressed tokens read: ")[2])
    assert (read == 0) == (code == 1)
    assert ("no prompt filled a page" in done.stderr) == (code == 1)


def test_longbench(model, command, tmp_path):
    write_lines(
        tmp_path / "trec_e.jsonl", *({"input": "a" * n, "answers": ["b"], "all_classes": ["b", "c"], "length": n} for n in (9, 400))
    )
    (tmp_path / "dataset2prompt.json").write_text('{"trec": "{input}"}')
    words = ("qjl.longbench", "--model", model, "--name", "tiny", "--cache", "k3v2", "--data", tmp_path, "--datasets", "trec")
    more = ("--max-length", 300, "--max-new-tokens", 5, "--e", "--out", tmp_path / "out")
    done = command(*words, *more)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out/pred_e/tiny/trec.jsonl").read_text().splitlines()
    assert [json.loads(line)["length"] for line in lines] == [9, 400]
    assert "2 answers added" in done.stdout
