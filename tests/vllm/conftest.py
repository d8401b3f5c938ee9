"""Tests of the plugin in a running vLLM: `./dev test-vllm` makes the environment that they run in. Each engine costs a minute, so that
one start answers all questions about it, in a process of its own (asking.py)."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from asking import begin

BESIDE = {
    "test_gemma.py": "gemma:by_transformers",
    "test_smollm2.py": "smollm2:by_transformers",
    "test_one_worker.py": "tiny:by_transformers",
    "test_serve.py": "serve:plain",
}
MISSING = [name for name in ("vllm", "torch", "qjl") if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MISSING:
        reason = f"tests of the vLLM plugin are left out, there is no {', '.join(MISSING)}: ./dev test-vllm makes the environment"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    names = {item.path.name for item in session.items}
    for name, scenario in BESIDE.items():
        if name in names and not MISSING:
            begin(scenario)
