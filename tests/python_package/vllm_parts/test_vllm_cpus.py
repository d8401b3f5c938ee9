"""CPUs of a worker of the vLLM plugin, as vLLM writes them for OpenMP. No vLLM here."""

from __future__ import annotations

import os
import threading

import pytest
from qjl.vllm.cpus import bound_cpus, threads_on


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({"GOMP_CPU_AFFINITY": "0 1 12"}, {0, 1, 12}),
        ({"KMP_AFFINITY": "granularity=fine,explicit,proclist=[4,5]"}, {4, 5}),
        ({"OMP_PLACES": "{0,1}", "OMP_PROC_BIND": "true"}, None),
        ({"KMP_AFFINITY": "compact"}, None),
        ({"GOMP_CPU_AFFINITY": "0-7:2"}, None),  # of a user: vLLM writes no ranges
        ({}, None),
    ],
)
def test_cpus_that_openmp_is_told(environment: dict[str, str], cpus: set[int] | None) -> None:
    assert bound_cpus(environment) == cpus


def affinity_of_a_new_thread() -> set[int]:
    found: list[set[int]] = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="wants two CPUs")
def test_new_threads_have_all_cpus_of_a_worker_whose_main_thread_has_one() -> None:
    own = os.sched_getaffinity(0)
    first = {min(own)}
    os.sched_setaffinity(0, first)
    try:
        with threads_on(own):
            assert affinity_of_a_new_thread() == own
        assert os.sched_getaffinity(0) == first
        with threads_on(None):
            assert affinity_of_a_new_thread() == first
    finally:
        os.sched_setaffinity(0, own)
