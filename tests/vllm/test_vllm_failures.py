"""What worker and scheduler make of a step that failed. No engine is started: vLLM's own parts stand in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from qjl.errors import InvalidArgument


def worker(monkeypatch: pytest.MonkeyPatch, failures: list[Exception], output: Any) -> Any:
    """In a step of 30 tokens of `one`, which holds 120, and 128 of `two`, fresh."""
    import qjl.vllm.worker
    from vllm.v1.worker.cpu_worker import CPUWorker

    monkeypatch.setattr(CPUWorker, "sample_tokens", lambda self, grammar: output)
    monkeypatch.setattr(qjl.vllm.worker, "get_tp_group", lambda: SimpleNamespace(world_size=1))
    own = object.__new__(qjl.vllm.worker.QJLWorker)
    own.failures, own.scheduled, own.block_sizes = failures, {"one": 30, "two": 128}, [128, 1024]
    states = {"one": ([3, 4], [20], 120), "two": ([7], [21], 0)}
    requests = {name: SimpleNamespace(block_ids=(a, b), num_computed_tokens=before) for name, (a, b, before) in states.items()}
    own.model_runner = SimpleNamespace(requests=requests)
    return own


def test_a_worker_names_requests_and_blocks_of_a_step_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT

    found = worker(monkeypatch, [InvalidArgument("a key is nan")], EMPTY_MODEL_RUNNER_OUTPUT).sample_tokens(None)
    told = found.kv_connector_output
    assert (told.failed_recving, told.invalid_block_ids) == ({"one", "two"}, {3, 4, 7, 20, 21})
    assert EMPTY_MODEL_RUNNER_OUTPUT.kv_connector_output is None
    assert worker(monkeypatch, [], EMPTY_MODEL_RUNNER_OUTPUT).sample_tokens(None) is EMPTY_MODEL_RUNNER_OUTPUT


def test_a_worker_tells_of_an_error_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    import qjl.vllm.worker
    from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT

    asked = []
    own = worker(monkeypatch, [], EMPTY_MODEL_RUNNER_OUTPUT)
    monkeypatch.setattr(qjl.vllm.worker, "get_tp_group", lambda: SimpleNamespace(world_size=2, cpu_group="both"))
    monkeypatch.setattr(qjl.vllm.worker, "failed_anywhere", lambda failed, group: asked.append((failed, group)) or True)
    assert own.sample_tokens(None).kv_connector_output.failed_recving == {"one", "two"}
    assert asked == [(False, "both")]


def test_the_scheduler_ends_whoever_stands_on_blocks_that_failed() -> None:
    from qjl.vllm.scheduler import QJLScheduler

    blocks = {"failed": ([1, 2], [20]), "next": ([1, 2, 5], [21]), "other": ([1, 8], [22])}
    evicted: list[set[int]] = []
    manager = SimpleNamespace(get_block_ids=blocks.__getitem__, evict_blocks=evicted.append)
    scheduler = SimpleNamespace(
        requests=dict.fromkeys(blocks), running=[SimpleNamespace(request_id=name) for name in blocks], kv_cache_manager=manager
    )
    assert QJLScheduler._handle_failed_recving(scheduler, {"failed", "aborted"}) == {"failed"}
    assert not scheduler.recompute_kv_load_failures
    assert QJLScheduler._handle_invalid_blocks(scheduler, {2, 20}, {}) == {"failed", "next"}
    assert evicted == [{2, 5, 20}]
