"""Tests of qjl.hf: they need torch and transformers, and where those are absent test_environment.py alone says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("torch", "transformers")
missing = [name for name in NEEDED if find_spec(name) is None]
collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if missing and path.name != "test_environment.py"]


@pytest.fixture(scope="session")
def missing_packages():
    return missing


@pytest.fixture(autouse=True)
def no_gradients():
    if missing:
        yield
        return
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        yield
