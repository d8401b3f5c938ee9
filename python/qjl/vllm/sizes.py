"""Blocks of layers that differ.

vLLM has a block as [kv_heads, tokens, C] bytes and asks for C, the bytes of one token and head (PagedCache.token_bytes). Layers of one
model share blocks of one number of bytes. Where a layer of another kind has a larger block that is no multiple of ours, vLLM pads
ours up to it and nothing is won. A larger C that divides it makes our blocks longer instead: more tokens, the same bytes.
"""

from __future__ import annotations


def rounded_up(state: int, states: int, largest_block: int) -> int | None:
    """The least C >= state with which `largest_block` bytes are a whole number of blocks of `states` tokens and heads; None when
    there is none."""
    whole, rest = divmod(largest_block, states)
    if rest:
        return None
    return next((whole // blocks for blocks in range(whole // state, 0, -1) if whole % blocks == 0), None)
