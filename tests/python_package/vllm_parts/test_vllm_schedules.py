"""The tail pool and the paged door together, as a worker of vLLM uses them, beside one KvCache: whatever blocks and slots sequences get,
they attend to what they would in a cache of their own. No vLLM here."""

from __future__ import annotations

import random

import numpy as np
import pytest
import qjl
from hypothesis import given, settings
from hypothesis import strategies as st
from qjl.paged import Batch, PagedCache
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
        batch = Batch(table, starts, [growth.before for growth in growths], self.pool.step(growths))
        rows = [numbers.standard_normal((int(starts[-1]), heads, DIM)).astype(np.float32) for heads in (HEADS, KV_HEADS, KV_HEADS)]
        queries, keys, values = rows
        if evaluate:
            self.paged.append(0, self.pages, self.tails, batch, keys, values)
            found = self.paged.attend(0, self.pages, self.tails, batch, queries)
        else:
            found = self.paged.step(0, self.pages, self.tails, batch, queries, keys, values)
        for sequence, a, b in zip(added, starts, starts[1:], strict=False):
            q, k, v = (each[a:b].transpose(1, 0, 2)[None] for each in rows)
            if evaluate:
                self.kept.append(sequence, 0, k[0], v[0])
                wanted = self.kept.attend(0, q, [sequence])
            else:
                wanted = self.kept.step(0, q, [sequence], k, v)
            np.testing.assert_allclose(found[a:b], wanted[0], rtol=0, atol=2e-5)


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
