"""What a measuring verb must not swallow: numbers that are none, two checked things that do not fit each other, a model file that
changes while it is read."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Program
from tiny_models import HIDDEN, byte_tokens, write_tiny_model


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measured") / "text"
    path.write_text("abcdefgh" * 200)
    return path


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_logits_that_are_no_numbers_end_every_measuring_verb(qjl: Program, text: Path, tmp_path: Path, number: float) -> None:
    model = write_tiny_model(tmp_path / "nan.gguf", tensors={"output_norm.weight": np.full(HIDDEN, number)})
    texts = tmp_path / "texts"
    texts.write_text(json.dumps([{"name": "text", "file": str(text)}]))
    cases = tmp_path / "cases"
    asked = {"question": "?", "prefix": "", "answer": "abc"}
    cases.write_text(json.dumps({"case": 1, "context": "abcd" * 50, "questions": [asked]}) + "\n")
    out = tmp_path / "out"
    for words in (
        ("eval", "-f", text, "-c", 256, "--cache", "k3v2"),
        ("eval", "-f", text, "-c", 256, "--cache", "k3v2", "--decode", 4),
        ("plan", "--budget", "2.7", "-f", text, "--text-context", 256, "--positions", 32),
        ("study", "rate", "--texts", texts, "--contexts", 256, "--positions", 32, "-o", out),
        ("study", "sensitivity", "--texts", texts, "-c", 256, "--positions", 32, "-o", out),
        ("study", "retrieval", "--cases", cases, "--chat-template", "chatml", "-o", out),
        ("run", "-p", "hello", "-n", 4),
    ):
        done = qjl(*words, "-m", model)
        assert done.returncode == 1, (words, done.stdout)
        assert "nan" in done.stderr or "inf" in done.stderr, words
        assert not out.exists()


def test_keys_that_are_no_numbers_end_inspect(qjl: Program, text: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "nan.gguf", tensors={"blk.0.attn_v.weight": np.full((64, HIDDEN), np.nan)})
    done = qjl("inspect", "-m", model, "-f", text, "-c", 256)
    assert done.returncode == 1, done.stdout


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(qjl: Program, text: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "small.gguf", vocab=128)
    for words in (("eval", "-f", text, "-c", 128), ("run", "-p", "hello", "-n", 40), ("inspect", "-f", text)):
        done = qjl(*words, "-m", model)
        assert done.returncode == 1
        assert "257" in done.stderr
        assert "128" in done.stderr


def test_rows_of_a_model_that_no_token_names_are_never_drawn(qjl: Program, tmp_path: Path) -> None:
    """A padded vocabulary: 257 tokens, 1000 rows."""
    model = write_tiny_model(tmp_path / "padded.gguf", vocab=1000)
    done = qjl("run", "-m", model, "-p", "hello", "-n", 200, "--temp", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokens"] == 200


def test_the_byte_alphabet_has_every_byte() -> None:
    assert len(set(byte_tokens())) == 256


@pytest.mark.parametrize(
    "words",
    [
        ("--positions", 600, "--text-context", 512),
        ("--check-positions", 600, "--check-context", 512),
    ],
)
def test_a_plan_scores_no_more_than_a_text_has(qjl: Program, text: Path, tmp_path: Path, words: tuple[object, ...]) -> None:
    done = qjl("plan", "--budget", "2.7", "-m", tmp_path / "none.gguf", "-f", text, *words)
    assert done.returncode == 2
    assert "600" in done.stderr
    assert "512" in done.stderr


def test_a_text_shorter_than_its_context_is_told_before_any_is_measured(qjl: Program, text: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    short = tmp_path / "short"
    short.write_text("abc")
    done = qjl("plan", "--budget", "2.7", "-m", model, "-f", text, short, "--text-context", 512)
    assert done.returncode == 1
    assert "short" in done.stderr


@pytest.mark.parametrize(("eps", "status"), [("0.1", 0), ("1e-9", 2), ("1e-300", 2), ("nan", 2), ("inf", 2)])
def test_a_bound_that_no_whole_number_holds_is_refused(qjl: Program, eps: str, status: int) -> None:
    done = qjl("plan", "--eps", eps, "--delta", 0.1, "--sketches", 2)
    assert done.returncode == status, done
    assert "-9223" not in done.stdout


@pytest.mark.parametrize("arithmetic", ["exact", "fast"])
def test_a_model_that_becomes_shorter_is_one_line_and_1(program: Path, tmp_path: Path, arithmetic: str) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf", layers=8)
    words = [program, "chat", "-m", model, "-n", "3", "--chat-template", "chatml", "--arithmetic", arithmetic]
    with subprocess.Popen(
        list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chat:
        assert chat.stdin and chat.stderr and chat.stdout
        chat.stdin.write("hello\n")
        chat.stdin.flush()
        chat.stdout.read(1)
        time.sleep(0.3)
        os.truncate(model, 1000)
        _, told = chat.communicate("again\n", timeout=20)
    assert chat.returncode == 1 or (arithmetic == "fast" and chat.returncode == 0), told  # fast reads repacked weights
    if chat.returncode == 1:
        assert told.startswith("qjl: a file in use")
        assert told.count("\n") == 1
