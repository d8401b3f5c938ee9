"""The tail pool and the paged door together, as a worker of vLLM uses them, beside one KvCache: whatever blocks and slots sequences get,
they attend to what they would in a cache of their own. No vLLM here."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import qjl
from hypothesis import given, settings
from hypothesis import strategies as st
from qjl.paged import PagedCache
from qjl.vllm.parts import by_page, whole
from qjl.vllm.tails import Growth, TailPool

PAGE, HEADS, KV_HEADS, DIM = 128, 2, 1, 64
SLOTS, BLOCKS = 3, 12


class Engine:
    """Blocks, slots and memory of one layer; KvCache holds the same tokens."""

    def __init__(self, cache: str) -> None:
        self.paged = PagedCache(1, KV_HEADS, DIM, cache, threads=1)
        self.kept = qjl.KvCache(1, KV_HEADS, DIM, cache, threads=1)
        state = self.paged.token_bytes(0)
        room = np.zeros(BLOCKS * KV_HEADS * PAGE * state + 64, np.uint8)
        start = -room.ctypes.data % 64  # pages stand at whole lines
        self.pages = room[start : start + BLOCKS * KV_HEADS * PAGE * state].reshape(BLOCKS, KV_HEADS, PAGE, state)
        self.tails = np.zeros((SLOTS, 2, KV_HEADS, PAGE, DIM), np.float16)
        self.pool, self.free = TailPool(SLOTS), list(range(1, BLOCKS))
        self.running: dict[int, tuple[list[int], int]] = {}  # sequence of KvCache -> blocks, tokens

    def start(self) -> None:
        self.running[self.kept.create()] = ([], 0)

    def leave(self, sequence: int, told: bool) -> None:
        """An end, an abort or a preemption; the blocks are used anew before the others that are free."""
        blocks, _ = self.running.pop(sequence)
        if told:
            self.pool.give_back(blocks)
        self.free = blocks + self.free
        self.kept.drop(sequence)

    def step(self, added: dict[int, int], numbers: np.random.Generator, evaluate: bool) -> None:
        growths, table = [], np.zeros((len(added), BLOCKS), np.int32)
        for row, (sequence, count) in enumerate(added.items()):
            blocks, before = self.running[sequence]
            needed = -(-(before + count) // PAGE) - len(blocks)
            blocks = blocks + [self.free.pop(0) for _ in range(needed)]
            table[row, : len(blocks)] = blocks
            self.running[sequence] = (blocks, before + count)
            growths.append(Growth(blocks, before, before + count))
        starts = np.cumsum([0, *added.values()])
        self.pool.begin()
        before = np.array([growth.before for growth in growths])
        parts = (by_page if evaluate else whole)(table, starts, before, np.array(self.pool.step(growths)))
        rows = [numbers.standard_normal((int(starts[-1]), heads, DIM)).astype(np.float32) for heads in (HEADS, KV_HEADS, KV_HEADS)]
        found = np.full_like(rows[0], np.nan)
        for part in parts:
            own = slice(None) if part.rows is None else part.rows
            found[own] = self.paged.step(0, self.pages, self.tails, part.batch, *(each[own] for each in rows))
        for sequence, held, a, b in zip(added, before, starts, starts[1:], strict=False):
            wanted = [self.kept_step(sequence, [each[i:j] for each in rows]) for i, j in cuts(held, a, b, evaluate)]
            np.testing.assert_allclose(found[a:b], np.concatenate(wanted), rtol=0, atol=2e-5)

    def kept_step(self, sequence: int, rows: list[np.ndarray]) -> np.ndarray:
        q, k, v = (each.transpose(1, 0, 2)[None] for each in rows)
        return self.kept.step(0, q, [sequence], k, v)[0]


def cuts(held: int, begin: int, end: int, evaluate: bool) -> list[tuple[int, int]]:
    """Rows of a sequence in one step: at once, or in an evaluation up to each end of a page."""
    first = begin + PAGE - held % PAGE
    marks = [begin, *(range(first, end, PAGE) if evaluate else []), end]
    return list(itertools.pairwise(marks))


@pytest.mark.parametrize("cache", ["f16:sinks=0", "k3v2:sinks=1"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), told=st.booleans(), evaluate=st.booleans())
def test_random_schedules_attend_as_a_cache_does(cache: str, seed: int, told: bool, evaluate: bool) -> None:
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    engine = Engine(cache)
    for _ in range(25):
        if engine.running and chance.random() < 0.25:
            engine.leave(chance.choice(list(engine.running)), told)
        if len(engine.running) < SLOTS and (told or not engine.pool.taken):
            engine.start()
        added, free = {}, len(engine.free)
        for sequence in chance.sample(list(engine.running), chance.randint(0, len(engine.running))):
            blocks, before = engine.running[sequence]
            count = chance.choice([1, 1, 7, 60, PAGE - before % PAGE, 200])
            free -= -(-(before + count) // PAGE) - len(blocks)
            if free < 0:
                break
            added[sequence] = count
        if added:
            engine.step(added, numbers, evaluate)
    for sequence in list(engine.running):
        engine.leave(sequence, told=True)
    if told:
        assert engine.pool.taken == 0
