"""The program on folders of Hugging Face: it runs one, and says in one line what another lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Program
from reference import random_model
from test_tokenizer_json import MAKERS

PLAIN = {"rope_type": "default", "rope_theta": 10000.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights whose vocabulary is larger than its tokenizer's."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    model = random_model("Llama", 64, 4, 2, False, PLAIN)
    model.resize_token_embeddings(1600)
    model.save_pretrained(path)
    MAKERS["smollm"]().save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    (path / "chat_template.jinja").write_text("{% for m in messages %}<|im_start|>{{ m.content }}<|end|>{% endfor %}")
    return path


def test_runs(qjl: Program, folder: Path) -> None:
    done = qjl("run", "-m", folder, "-p", "Hello world", "-n", "4", "--temp", "0")
    assert done.returncode == 0, done.stderr
    again = qjl("run", "-m", f"{folder}/", "-p", "Hello world", "-n", "4", "--temp", "0")
    assert again.stdout == done.stdout
    info = qjl("info", "-m", folder)
    assert info.returncode == 0, info.stderr
    assert "tiny" in info.stdout


def change(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors.index.json"),
    "weights cut off": (cut, "is it whole"),
    "a config that is no JSON": (change("config.json", '{"model_type": '), "no JSON"),
    "a tokenizer of another kind": (change("tokenizer.json", '{"model": {"type": "Unigram"}}'), "'Unigram'"),
    "a list as a config of tokens": (change("tokenizer_config.json", "[]"), "array"),
}


@pytest.mark.parametrize(("damage", "said"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named(damage: Callable[[Path], None], said: str, qjl: Program, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    done = qjl("run", "-m", copy, "-p", "a", "-n", "1")
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_part_of_a_folder(qjl: Program, folder: Path) -> None:
    done = qjl("run", "-m", folder / "model.safetensors", "-p", "a")
    assert done.returncode != 0
    assert "wanted the folder" in done.stderr
