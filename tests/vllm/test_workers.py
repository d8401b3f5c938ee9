"""Two workers give the answers of one, and the same bytes of every head."""

from __future__ import annotations

import os
import re

import pytest
from asking import HERE, ask, parts_at_ties_alone
from scenarios_tiny import BUDGET, KV_HEADS

BOUND = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}


@pytest.mark.parametrize("scenario", ["tiny:two_tensor_workers", "tiny:two_pipeline_workers"])
def test_answers_are_those_of_one_worker(scenario: str) -> None:
    found = ask(scenario, **BOUND).found
    assert parts_at_ties_alone(found["tokens"], ask("tiny:by_transformers").found)
    assert found["taken"] == [[0], [0]]


@pytest.mark.parametrize("scenario", ["tiny:two_tensor_workers", "tiny:two_pipeline_workers"])
def test_bytes_are_those_of_one_worker(scenario: str) -> None:
    """Frames and seeds know no rank, and the model's sums over ranks have the bits of sums over one (one_input_a_channel)."""
    one, two = ask("mixed:one_worker").found["pages"], ask(scenario, **BOUND).found["pages"]
    assert one.keys() == two.keys() and len(one) == 4 * KV_HEADS
    assert all(len(pages) == 2 for pages in one.values())
    assert one == two


def test_a_full_cache_stays_in_its_budget() -> None:
    before, full = ask("tiny:two_tensor_workers", **BOUND).found["memory"]
    for a, b in zip(before, full, strict=True):
        assert b - a < 1.05 * BUDGET


def test_a_worker_without_the_package_says_so() -> None:
    answer = ask(
        "tiny:executor_without_the_package",
        **BOUND,
        PYTHONPATH=os.pathsep.join([str(HERE / "hidden"), str(HERE)]),
        QJL_HIDDEN_FROM="VllmWorker-1",
    )
    assert "WorkerProc initialization failed" in answer.found
    said = re.findall(r"\((\S+) pid=\d+\).*No module named 'qjl", answer.log)
    assert said and all("Worker" in name for name in said)
