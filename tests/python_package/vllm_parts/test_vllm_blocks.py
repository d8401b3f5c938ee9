"""Blocks of the vLLM plugin: their pages, and blocks of layers that differ. No vLLM here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qjl.vllm.blocks import page_table, page_view, rounded_up


def test_blocks_are_as_long_as_the_larger_layer_allows() -> None:
    """Gemma in fp32: a window layer has 2048 bytes a token; 179 of ours in a block of 128 tokens would be padded to all of them."""
    assert rounded_up(179, 128, 2048 * 128) == 256
    assert rounded_up(1025, 128, 2048 * 128) == 2048
    assert rounded_up(2049, 128, 2048 * 128) is None
    assert rounded_up(179, 128, 2048 * 128 + 1) is None


@given(
    state=st.integers(1, 3000),
    states=st.sampled_from([128, 256, 384, 1024]),
    per_state=st.integers(1, 5000),
    rest=st.integers(0, 40),
)
def test_rounding(state: int, states: int, per_state: int, rest: int) -> None:
    largest = per_state * states + rest
    fits = [c for c in range(state, per_state + 1) if largest % (c * states) == 0]
    assert rounded_up(state, states, largest) == (min(fits) if fits else None)


def test_pages_of_blocks() -> None:
    blocks = np.array([[3, 0, 7], [5, 2, 0]], np.int32)
    assert page_table(blocks, 1) is blocks
    assert page_table(blocks, 2).tolist() == [[6, 7, 0, 1, 14, 15], [10, 11, 4, 5, 0, 1]]
    assert page_table(blocks, 4).dtype == np.int32
    assert page_table(blocks[:0], 4).shape == (0, 12)


def test_no_two_pages_of_a_cache_share_bytes() -> None:
    """Whatever the heads and pages of a block, each page and head has its own stretch, and a block's stand inside the block."""
    torch = pytest.importorskip("torch")
    blocks, heads, pages, state = 3, 2, 4, 45
    cache = torch.zeros(blocks, heads, 128 * pages, state, dtype=torch.uint8)
    view = page_view(cache, pages)
    assert view.shape == (blocks * pages, heads, 128, state)
    for page in range(blocks * pages):
        view[page] += page + 1
    assert sorted(cache.unique().tolist()) == list(range(1, blocks * pages + 1))
    for block in range(blocks):
        assert cache[block].min() == block * pages + 1 and cache[block].max() == (block + 1) * pages
