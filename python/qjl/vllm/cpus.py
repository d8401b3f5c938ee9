"""The CPUs of a worker. vLLM tells them to OpenMP alone, which binds the main thread to the first of them; threads of ours that it makes
would inherit that one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def bound_cpus(environment: Mapping[str, str] = os.environ) -> set[int] | None:
    """As vLLM's OMPProcessManager writes them for Intel's and GNU's library; None where it binds otherwise or not at all."""
    found = re.search(r"proclist=\[([\d,]+)\]", environment.get("KMP_AFFINITY", ""))
    listed = found[1] if found else environment.get("GOMP_CPU_AFFINITY", "")
    if re.fullmatch(r"\d+([ ,]\d+)*", listed) is None:
        return None
    return {int(cpu) for cpu in re.split("[ ,]", listed)}


@contextmanager
def threads_on(cpus: set[int] | None) -> Iterator[None]:
    """Threads that are made inside run on these CPUs; the calling one goes back to its own."""
    if cpus is None:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)
