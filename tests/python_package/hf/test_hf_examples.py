"""The examples that need a model run, on a small one, and say what they should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from saved_model import save_model

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def run(*words, **more) -> list[str]:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_generate(folder):
    lines = run(sys.executable, EXAMPLES / "generate.py", folder, "abc " * 40, "--cache", "f16", "--tokens", 9, "--compare")
    exact, ours, size = lines[-3:]
    assert exact.removeprefix("exact: ") == ours.removeprefix("f16: ")
    assert re.fullmatch(r"2 of 2 layers compressed, the whole cache \d\.\d\d times smaller", size)


def test_long_document(folder, tmp_path):
    """The second process answers as the first did, without reading the document; another question gets another answer."""
    saved = tmp_path / "document.qjlkv.safetensors"
    words = [
        sys.executable,
        EXAMPLES / "long_document.py",
        "--model",
        folder,
        "--characters",
        700,
        "--saved",
        saved,
        "--tokens",
        12,
    ]
    first, second = run(*words, "Where is the ship?"), run(*words, "Where is the ship?")
    assert re.fullmatch(
        r"read 702 tokens in \d+\.\d\d s: \d\.\d MB, \d\.\d times smaller", first[0]
    )  # a byte each, and two newlines
    assert re.fullmatch(r"loaded 702 tokens in \d+\.\d\d s: \d\.\d MB, \d\.\d times smaller", second[0])
    assert first[1:] == second[1:] and len("\n".join(first[1:])) > 0
    assert run(*words, "Who leads?")[1:] != first[1:]


def test_evaluate(folder, tmp_path):
    """lm-eval's results, LongBench's answers and the picture of one cache type; qjl.lm_eval fails by itself when it reads no page."""
    pytest.importorskip("lm_eval", reason="needs lm-eval: pip install qjl[lm_eval]")
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install qjl[plots]")
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HOME": str(tmp_path / "home")}
    lines = run(EXAMPLES / "evaluate.sh", folder, tmp_path / "out", "k2v2", env={**os.environ, **path})
    assert any(re.fullmatch(r"compressed tokens read: [1-9]\d*", line) for line in lines)
    answers = [json.loads(line) for line in (tmp_path / "out/pred/k2v2/qasper.jsonl").read_text().splitlines()]
    assert [list(answer) for answer in answers] == [["pred", "answers", "all_classes", "length"]] * 2
    (results,) = (tmp_path / "out/lm_eval").glob("*.json")
    score = json.loads(results.read_text())["results"]["south"]["acc,none"]
    assert score in [right / 8 for right in range(9)]
    picture = (tmp_path / "out/scores.svg").read_text()
    assert ">south<" in picture and f">{folder.name} k2v2<" in picture
