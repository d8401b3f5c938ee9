"""What a step that failed in our layers takes along: whether it failed anywhere, the blocks that it was writing, and who holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Groups = Sequence[Sequence[int]]  # blocks of one request in order, for each cache group


def failed_anywhere(failed: bool, group: Any) -> bool:
    """`group`: a process group of torch whose members all ask, once a step. One worker alone answers for a step: after the last layer
    of ours no numbers tell it of another's error."""
    import torch

    flag = torch.tensor(int(failed), dtype=torch.int32)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX, group=group)
    return bool(flag)


def written_blocks(blocks: Groups, block_sizes: Iterable[int], before: int, after: int) -> set[int]:
    """Blocks with the tokens [before, after) of a request."""
    return {block for row, size in zip(blocks, block_sizes, strict=True) for block in row[before // size : -(-after // size)]}


def spoiled(blocks: Iterable[int], held: Mapping[str, Groups]) -> tuple[set[str], set[int]]:
    """The requests of `held` that hold one of these blocks, by a prefix that they share, and the blocks with all that stand on them: what
    a request wrote behind a spoiled block is spoiled too, and may be a prefix in turn."""
    requests: set[str] = set()
    spoilt = set(blocks)
    while found := [name for name, rows in held.items() if name not in requests and any(not spoilt.isdisjoint(r) for r in rows)]:
        requests.update(found)
        for row in (row for name in found for row in held[name]):
            first = next((i for i, block in enumerate(row) if block in spoilt), len(row))
            spoilt.update(row[first:])
    return requests, spoilt
