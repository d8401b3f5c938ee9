"""The code of docs/python.md runs from top to bottom, and says what it says it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))


def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(CODE, "docs/python.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == re.findall(r"# (\[append\].*)", CODE)
    assert names["out"].shape == (1, 1, 32, 128)
    assert names["scores"].shape == (4, 128)


def test_every_call_is_listed() -> None:
    import qjl

    for name in vars(qjl.KvCache.__base__):
        if not name.startswith("_") and callable(getattr(qjl.KvCache, name)):
            assert re.search(rf"\b{name}\(", TEXT), name
