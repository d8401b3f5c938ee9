"""Attention of the layers that a QJLCache leaves exact, and of models without a cache: torch's own, under the causal and window mask
that belongs to the layer.

    out = softmax(cap(scale q k^T) | sink) v          cap(x) = c tanh(x / c), or x

torch's fused function has neither cap nor sink; those two are computed as they stand, a block of queries at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from qjl import Unsupported

BLOCK_QUERIES = 256


def exact_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float | None,
    soft_cap: float | None,
    window: int | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """query [batch, query_heads, tokens, head_dim], key and value [batch, kv_heads, columns, head_dim] give [batch, tokens,
    query_heads, head_dim]. mask: None, [batch, columns] of tokens that count, or [batch, 1, tokens, columns]."""
    seen = mask if mask is not None and mask.dim() == 4 else causal_mask(query, key, mask, window)
    if soft_cap is None and sinks is None:
        out, _ = sdpa_attention_forward(module, query, key, value, seen, 0.0, scale, is_causal=False)
        return out
    groups = query.shape[1] // key.shape[1]
    keys, values = repeat_kv(key, groups), repeat_kv(value, groups)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    blocks = []
    for begin in range(0, query.shape[2], BLOCK_QUERIES):
        rows = slice(begin, begin + BLOCK_QUERIES)
        of_rows = seen if seen is None else seen[:, :, rows]
        blocks.append(_plain(query[:, :, rows], keys, values, of_rows, scale, soft_cap, sinks))
    return torch.cat(blocks, 2).transpose(1, 2).contiguous()


def _plain(query: Any, keys: Any, values: Any, seen: Any, scale: float, soft_cap: float | None, sinks: Any) -> torch.Tensor:
    scores = torch.matmul(query, keys.transpose(2, 3)) * scale
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    if seen is not None:
        least = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~seen, least) if seen.dtype == torch.bool else scores + seen
    if sinks is not None:
        column = sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([scores, column], -1)
    weights = torch.softmax(scores.float(), -1).to(query.dtype)
    return torch.matmul(weights[..., : keys.shape[2]], values)


def causal_mask(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, window: int | None) -> torch.Tensor | None:
    """[batch or 1, 1, tokens, columns] bool: the queries are the last columns. None: every query sees every column."""
    tokens, columns = query.shape[2], key.shape[2]
    if tokens == 1 and mask is None and (window is None or columns <= window):
        return None
    if mask is not None and mask.shape[1] < columns:
        raise Unsupported(
            f"[attend] mask has {mask.shape[1]} columns, wanted {columns} or more: caches of a fixed size are not supported"
        )
    positions = torch.arange(columns, device=query.device)
    own = positions[columns - tokens :, None]
    seen = positions[None] <= own
    if window is not None:
        seen = seen & (positions[None] > own - window)
    seen = seen[None, None]
    if mask is not None:
        seen = seen & mask[:, None, None, mask.shape[1] - columns :].bool()
    return seen
