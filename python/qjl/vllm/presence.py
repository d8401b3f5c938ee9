"""Whether every worker has the plugin. On another machine without the package vLLM asks nobody of ours: a worker there would keep its own
cache. So each worker of ours leaves a word in the store that all of them share, and later looks for the others'."""

from __future__ import annotations

import time
from typing import Any

from qjl.errors import Unsupported


def common_store() -> Any:
    """The store of torch's default group, by which its members found each other."""
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def announce(store: Any, rank: int) -> None:
    """`store`: as of torch.distributed."""
    store.set(_key(rank), "here")


def check_presence(store: Any, workers: int, seconds: float = 60.0) -> None:
    """Waits for those that have not announced themselves, as of another engine under data parallelism, which starts by itself.

    Errors: Unsupported after `seconds`, which names the ranks that did not."""
    end = time.monotonic() + seconds
    while missing := [rank for rank in range(workers) if not store.check([_key(rank)])]:
        if time.monotonic() < end:
            time.sleep(0.1)
            continue
        raise Unsupported(
            f"[vllm] found no qjl in workers {missing} of {workers}, wanted it in all: the package is missing there, or VLLM_PLUGINS leaves it out"
        )


def _key(rank: int) -> str:
    return f"qjl worker {rank}"
