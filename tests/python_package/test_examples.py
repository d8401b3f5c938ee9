"""The examples that need no model run, and say what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/python"


def run(name: str) -> list[str]:
    done = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_numpy_cache() -> None:
    lines = run("numpy_cache.py")
    assert [line.partition(":")[0] for line in lines] == ["f16", "k4v4", "k3v2"]
    sizes = [int(re.search(r"(\d+) KiB", line)[1]) for line in lines]
    errors = [float(re.search(r"([\d.]+)%$", line)[1]) for line in lines]
    assert sizes[0] > sizes[1] > sizes[2]
    # A value alone, of normal numbers: the best codes of 4 and 2 bits leave .0095 and .117 of its variance, 10 % and 34 % of its length.
    assert errors[0] == 0 < errors[1] < 15 < errors[2] < 45


def test_sharded() -> None:
    pytest.importorskip("torch", reason="torch is absent")
    lines = run("sharded.py")
    assert [line.partition(":")[0] for line in lines] == ["400 and 300 tokens", "0 and 700 tokens", "700 and 0 tokens"]
