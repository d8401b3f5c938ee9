"""PagedCache: attends to pages in memory that an engine keeps, a block a page, and adds to them.

    from qjl.paged import Batch, PagedCache

    cache = PagedCache(num_layers, num_kv_heads, head_dim, "k3v2", sinks=1)
    pages = cache.new_pages(layer, blocks)                            # or an engine's own, for each layer
    tails = np.zeros((sequences, 2, num_kv_heads, 128, head_dim), np.float16)
    batch = Batch(block_table, starts, num_tokens, tail_ids)                  # once a step
    out = cache.step(layer, pages, tails, batch, queries, keys, values)       # in every layer

Lengths, blocks and tails are the engine's; the cache holds codec tables alone. docs/python.md says more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qjl import _core
from qjl.cache import DEFAULT_TYPE, cache_options
from qjl.errors import InvalidArgument
from qjl.plan import PlanLike

__all__ = ["Batch", "PagedCache"]

_LINE_BYTES = 64


class Batch(_core.Batch):
    """What a step is about, for all layers: R requests and their T tokens. Arrays of int32 or int64, or lists; they are copied.

    block_table: [R or more rows, blocks] block i of a request has its tokens 128 i and on. What lies beyond a request's full pages
        is not looked at.
    starts: [R + 1] request r has the rows [starts[r], starts[r + 1]) of the step's tensors; starts[0] is 0.
    num_tokens: [R] tokens of each request before the step, in pages and tail.
    tail_ids: [R] the tail of each request; -1 for one whose last page is full before and after the step.

    Errors: InvalidArgument. Whether the ids are there is asked when the memory is known.
    """

    def __init__(self, block_table: Any, starts: Any, num_tokens: Any, tail_ids: Any) -> None:
        super().__init__(
            block_table=_whole(block_table, "block_table", 2),
            starts=_whole(starts, "starts", 1),
            num_tokens=_whole(num_tokens, "num_tokens", 1),
            tail_ids=_whole(tail_ids, "tail_ids", 1),
        )


class PagedCache(_core.PagedCache):
    """The verbs of KvCache over pages and tails in the caller's memory; see the module.

    num_layers, num_kv_heads, head_dim, cache, tail_dtype, rope, rope_pairs, plan, threads: as of qjl.KvCache. num_kv_heads may be
        a part of the model's: the bytes of a head are the same on every worker.
    sinks: first tokens of a request that stay exact, in its first block; None: as many as the cache type or the plan says.

    Calls from several threads of Python wait for each other.

    Errors: InvalidArgument; BadFile and FileError on a plan.
    """

    def __init__(
        self,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        cache: str = DEFAULT_TYPE,
        *,
        sinks: int | None = None,
        tail_dtype: Any = "float16",
        rope: Sequence[float] | Sequence[Sequence[float]] | None = None,
        rope_pairs: str = "halves",
        plan: PlanLike | None = None,
        threads: int = 0,
    ) -> None:
        options = cache_options(num_layers, num_kv_heads, head_dim, cache, tail_dtype, rope, rope_pairs, plan)
        super().__init__(**options, sinks=sinks, threads=threads)

    def new_pages(self, layer: int, blocks: int) -> NDArray[np.uint8]:
        """Zeros [blocks, num_kv_heads, 128, token_bytes(layer)] where the kernels can read them, for who has no memory of his own."""
        shape = (blocks, self.num_kv_heads, _core.PAGE_TOKENS, self.token_bytes(layer))
        size = math.prod(shape)
        memory = np.zeros(size + _LINE_BYTES, np.uint8)
        start = -memory.ctypes.data % _LINE_BYTES
        return memory[start : start + size].reshape(shape)

    def __repr__(self) -> str:
        return f"PagedCache({self.num_layers}, {self.num_kv_heads}, {self.head_dim}, {self.cache_type()!r})"


def _whole(numbers: Any, name: str, axes: int) -> Any:
    """An array as it is; a list as one."""
    if hasattr(numbers, "__dlpack__"):
        return numbers
    try:
        array = np.asarray(numbers)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"[batch] {name} are {numbers!r}, wanted whole numbers: {error}") from error
    return array if array.size else array.reshape(array.shape + (0,) * (axes - array.ndim)).astype(np.int64)
