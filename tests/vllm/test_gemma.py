"""A model with windows: its full layers are ours, and their longer blocks hold more tokens in the same bytes."""

from __future__ import annotations

import re

from asking import ask


def test_exact_pages_write_the_same_text() -> None:
    wanted, found = ask("gemma:by_transformers").found["tokens"], ask("gemma:exact").found
    assert found["tokens"] == wanted and found["again"] == wanted


def test_the_log_names_layers_and_both_capacities() -> None:
    log = ask("gemma:packed").log
    assert "qjl: 3 of 18 layers compressed: k3v2:sinks=1" in log
    held, own = re.search(r"qjl: [\d,]+ bytes hold ([\d,]+) tokens.*; ([\d,]+) tokens in float32", log).groups()
    assert int(held.replace(",", "")) >= 1.2 * int(own.replace(",", ""))
