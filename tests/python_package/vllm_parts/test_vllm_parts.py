"""Calls of a step: in an evaluation each token reads what decoding would show it. No vLLM here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qjl.paged import PagedCache
from qjl.vllm.parts import Part, by_page, whole

PAGE, HEADS, DIM = 128, 2, 64


@given(grown=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 500)), min_size=1, max_size=6))
def test_every_token_comes_once_in_the_order_of_pages(grown: list[tuple[int, int]]) -> None:
    before, counts = np.array(grown).T
    starts = np.cumsum([0, *counts])
    places = np.concatenate([np.arange(held, held + count) // PAGE for held, count in grown])
    sequences = np.repeat(np.arange(len(grown)), counts)
    parts = by_page(np.zeros((len(grown), 12), np.int32), starts, before, np.arange(len(grown)))
    if len(parts) == 1 and parts[0].rows is None:
        assert all(len(set(places[sequences == i])) == 1 for i in range(len(grown)))
        return
    assert np.concatenate([part.rows for part in parts]).tolist() == np.lexsort((np.arange(len(places)), places)).tolist()
    assert [set(places[part.rows]) for part in parts] == [{place} for place in np.unique(places)]


def run(cache: PagedCache, parts: list[Part], pages: np.ndarray, tails: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found = np.full_like(rows, np.nan)
    for part in parts:
        own = slice(None) if part.rows is None else part.rows
        found[own] = cache.step(0, pages, tails, part.batch, rows[own], rows[own], rows[own])
    return found


@pytest.mark.parametrize("count", [128, 300, 384])
def test_a_chunk_reads_what_tokens_alone_read(count: int) -> None:
    """Up to the 11 bits that an open page's rows are rounded to. At once a chunk sees the rows of full pages exactly, and is far off."""
    rows = np.random.default_rng(3).standard_normal((count, HEADS, DIM)).astype(np.float32)
    cache, table = PagedCache(1, HEADS, DIM, "k2v2:sinks=1", threads=1), np.array([[2, 0, 1]])
    alone, at_once, cut = ((cache.new_pages(0, 3), np.zeros((1, 2, HEADS, PAGE, DIM), np.float16)) for _ in range(3))
    wanted = [
        run(cache, whole(table, np.array([0, 1]), np.array([i]), np.array([0])), *alone, rows[i : i + 1]) for i in range(count)
    ]
    asked = (table, np.array([0, count]), np.array([0]), np.array([0]))
    found, near = run(cache, by_page(*asked), *cut, rows), run(cache, whole(*asked), *at_once, rows)
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=0, atol=0.01)
    np.testing.assert_array_equal(cut[0], alone[0])
    assert count == PAGE or np.abs(near - np.concatenate(wanted)).max() > 0.1


def test_pages_that_a_longer_sequence_fills_are_read_in_the_same_step() -> None:
    """The second sequence begins behind pages that the first one fills in this step, and goes on into a page of its own."""
    rows = np.random.default_rng(4).standard_normal((300 + 200, HEADS, DIM)).astype(np.float32)
    cache = PagedCache(1, HEADS, DIM, "k2v2:sinks=1", threads=1)
    table, slots = np.array([[0, 1, 2, 0], [0, 1, 3, 4]]), np.array([0, 1])
    together, apart = ((cache.new_pages(0, 5), np.zeros((2, 2, HEADS, PAGE, DIM), np.float16)) for _ in range(2))
    found = run(cache, by_page(table, np.array([0, 300, 500]), np.array([0, 256]), slots), *together, rows)
    one = run(cache, by_page(table[:1], np.array([0, 300]), np.array([0]), slots[:1]), *apart, rows[:300])
    two = run(cache, by_page(table[1:], np.array([0, 200]), np.array([256]), slots[1:]), *apart, rows[300:])
    np.testing.assert_allclose(found, np.concatenate([one, two]), rtol=0, atol=1e-5)
