"""The code of docs/python_hf.md runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from saved_model import save_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_the_document(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/python_hf.md").read_text(encoding="utf-8")
    names = {"folder": str(folder), "torch": torch}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), "docs/python_hf.md", "exec"), names)
    assert names["cache"].get_seq_length() == names["out"].shape[1] - 1
    assert names["kept"].get_seq_length() == names["document"].shape[1] - 1  # what was asked of copies is not in it
    assert names["again"].get_seq_length() == names["kept"].get_seq_length()
    assert "'compressed_layers': 2" in capsys.readouterr().out
