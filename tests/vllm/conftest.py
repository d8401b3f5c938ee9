"""Tests of the plugin in a running vLLM: `./dev test-vllm` makes the environment that they run in. Each engine costs a minute, so that
one start answers all questions about it, in a process of its own (asking.py)."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("vllm", "torch", "qjl") if find_spec(name) is None]
    if missing:
        reason = f"tests of the vLLM plugin are left out, there is no {', '.join(missing)}: ./dev test-vllm makes the environment"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
