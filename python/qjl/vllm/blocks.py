"""Blocks of vLLM as pages, and blocks of layers that differ.

vLLM has a block as [kv_heads, tokens, C] bytes and asks for C, the bytes of one token and head (PagedCache.token_bytes). Layers of one
model share blocks of one number of bytes. Where a layer of another kind has a larger block that is no multiple of ours, vLLM pads
ours up to it and nothing is won. A larger C that divides it makes our blocks longer instead: more tokens, the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qjl._core import PAGE_TOKENS


def rounded_up(state: int, states: int, largest_block: int) -> int | None:
    """The least C >= state with which `largest_block` bytes are a whole number of blocks of `states` tokens and heads; None when
    there is none."""
    whole, rest = divmod(largest_block, states)
    if rest:
        return None
    return next((whole // blocks for blocks in range(whole // state, 0, -1) if whole % blocks == 0), None)


def page_table(blocks: np.ndarray, pages_per_block: int) -> np.ndarray:
    """[sequences, blocks] -> [sequences, pages]: the pages of block b are b n, b n + 1 ..."""
    if pages_per_block == 1:
        return blocks
    return (blocks[:, :, None] * pages_per_block + np.arange(pages_per_block, dtype=blocks.dtype)).reshape(
        len(blocks), blocks.shape[1] * pages_per_block
    )


def page_view(kv_cache: Any, pages_per_block: int) -> Any:
    """A tensor [blocks, kv_heads, tokens, C] as pages [blocks n, kv_heads, 128, C]. The bytes of a block are ours alone, so that inside it pages
    come before heads. Blocks of several pages must be without padding."""
    if pages_per_block == 1:
        return kv_cache
    blocks, heads, _, state = kv_cache.shape
    return kv_cache.view(blocks * pages_per_block, heads, PAGE_TOKENS, state)
