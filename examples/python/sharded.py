"""One sequence over two processes: each holds a part of its tokens in a cache of its own, attends to that, and the results merge.

    python examples/python/sharded.py

(out, lse) of a part is all that travels: head_dim + 1 numbers a head, whatever the part's length. A part may be empty.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import qjl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PROCESSES, KV_HEADS, QUERY_HEADS, HEAD_DIM, TOKENS = 2, 2, 8, 64, 700


def attend_to(keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one decode step: out [1, 1, query_heads, head_dim] and lse [1, query_heads, 1]."""
    cache = qjl.KvCache(1, KV_HEADS, HEAD_DIM, "f16", threads=1)
    sequence = cache.create()
    cache.append(sequence, 0, keys, values)
    return cache.attend(0, queries, [sequence], lse=True)


def process(rank: int, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=PROCESSES)
    numbers = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, KV_HEADS, TOKENS, HEAD_DIM, generator=numbers)
    queries = torch.randn(1, QUERY_HEADS, 1, HEAD_DIM, generator=numbers)
    whole = attend_to(keys, values, queries)
    for border in (400, 0, TOKENS):  # the first process holds the tokens before it; twice a part is empty
        mine = slice(0, border) if rank == 0 else slice(border, TOKENS)
        out, lse = attend_to(keys[:, mine], values[:, mine], queries)
        outs, lses = ([torch.empty_like(x) for _ in range(PROCESSES)] for x in (out, lse))
        dist.all_gather(outs, out)
        dist.all_gather(lses, lse)
        merged, merged_lse = outs[0], lses[0]
        for other, other_lse in zip(outs[1:], lses[1:], strict=True):
            merged, merged_lse = qjl.merge(merged, merged_lse, other, other_lse)
        # Both ways add the same numbers in fp32, in another order: some units of 2^-24.
        error = max(float((merged - whole[0]).abs().max()), float((merged_lse - whole[1]).abs().max()))
        assert error < 1e-5, error
        if rank == 0:
            print(f"{border} and {TOKENS - border} tokens: off by {error:.1e} from one process")
    dist.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(process, args=(str(Path(folder) / "rendezvous"),), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
