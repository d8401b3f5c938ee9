"""Blocks of layers that differ, in the vLLM plugin. No vLLM here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from qjl.vllm.sizes import rounded_up


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
