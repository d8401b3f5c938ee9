"""torch.ops.qjl.step: one layer's attention with its new tokens, which are stored after it.

    step(Tensor(a!) state, Tensor query, Tensor key, Tensor value, int layer, float scale, float soft_cap, int window,
         Tensor? mask, Tensor? sinks) -> Tensor

query [batch, query_heads, tokens, head_dim], key and value [batch, kv_heads, tokens, head_dim] give [batch, tokens, query_heads,
head_dim]. `state` is int64 [2]: the number of the cache, and a count that grows with every step, so that steps have an order in a
graph and a second cache is no new graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qjl import InvalidArgument
from qjl.hf.store import sessions

if TYPE_CHECKING:
    from qjl.hf.layer import QJLLayer


class Traced:
    """The layer whose `update` ran last in the graph that is being traced: what the attention function that follows belongs to."""

    layer: QJLLayer | None = None


traced = Traced()

_library = torch.library.Library("qjl", "DEF")
_library.define(
    "step(Tensor(a!) state, Tensor query, Tensor key, Tensor value, int layer, float scale, float soft_cap, int window, "
    "Tensor? mask, Tensor? sinks) -> Tensor"
)


def _step(
    state: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layer: int,
    scale: float,
    soft_cap: float,
    window: int,
    mask: torch.Tensor | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    from qjl.hf.layer import Softmax

    number = int(state[0])
    session = sessions.get(number)
    if session is None:
        raise InvalidArgument(f"[step] state names cache {number}, wanted one that is alive: {sorted(sessions)}")
    of_layer = session.layer(layer)
    of_layer.accept(key, value)
    if of_layer.keeps_chunk and of_layer.pending is not None:  # a graph reuses the memory of its tensors
        of_layer.pending.keys, of_layer.pending.values = key.clone(), value.clone()
    out = of_layer.attend(query, mask, Softmax(scale, soft_cap, window, sinks))
    of_layer.length = of_layer.columns + (0 if of_layer.pending is None else of_layer.pending.tokens)  # as the graph has it
    state[1] += 1
    return out


_library.impl("step", _step, "CPU")


@torch.library.register_fake("qjl::step", lib=_library)
def _fake(state, query, key, value, layer, scale, soft_cap, window, mask, sinks):  # type: ignore[no-untyped-def]
    batch, heads, tokens, dim = query.shape
    return query.new_empty(batch, tokens, heads, dim)
