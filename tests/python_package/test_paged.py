"""PagedCache beside KvCache: random schedules of requests give the same bytes and the same numbers, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import qjl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from model import PAGE
from qjl.paged import Batch, PagedCache

LAYERS, BLOCKS, TAILS = 2, 24, 5
TYPES = ["k3v2:sinks=1", "k2v2", "k4v4:sinks=1", "k1v3:sinks=0", "f16:sinks=1", "kl8vf16:seed=9", "paper"]
NO_TAIL = -1


@dataclass
class Request:
    """What an engine knows of a request, and the sequence of a KvCache that holds the same."""

    sequence: int
    blocks: list[int]
    num_tokens: int = 0
    tail: int = NO_TAIL


class Engine:
    """Blocks and tails of one worker: handed out lowest first, so that they are used again."""

    def __init__(self, cache: PagedCache, random: np.random.Generator) -> None:
        self.cache, self.users, self.free_tails = cache, [0] * BLOCKS, set(range(TAILS))
        heads, d = cache.num_kv_heads, cache.head_dim
        # Rubbish at first, and head by head or block by block.
        self.pages = []
        for layer in range(LAYERS):
            part = (cache.part_bytes(layer) + 63) // 64 * 64
            raw = random.integers(0, 256, BLOCKS * heads * part + 64, np.uint8)
            start = -raw.ctypes.data % 64
            raw = raw[start : start + BLOCKS * heads * part]
            shape = (BLOCKS, heads, part) if layer == 0 else (heads, BLOCKS, part)
            self.pages.append(raw.reshape(shape) if layer == 0 else raw.reshape(shape).swapaxes(0, 1))
        self.tails = [np.full((TAILS, 2, heads, PAGE, d), np.nan, np.float16) for _ in range(LAYERS)]

    def prepare(self, request: Request, new_tokens: int) -> bool:
        """Blocks and a tail for new tokens; False where there are none."""
        end = request.num_tokens + new_tokens
        free = [block for block, users in enumerate(self.users) if users == 0]
        wanted = -(-end // PAGE) - len(request.blocks)
        needs_tail = request.tail == NO_TAIL and end % PAGE > 0
        if wanted > len(free) or (needs_tail and not self.free_tails):
            return False
        for block in free[: max(wanted, 0)]:
            self.users[block] += 1
            request.blocks.append(block)
        if needs_tail:
            request.tail = min(self.free_tails)
            self.free_tails.remove(request.tail)
        return True

    def close(self, request: Request) -> None:
        """The tail of a request whose last page is full goes back."""
        if request.num_tokens % PAGE == 0 and request.tail != NO_TAIL:
            self.free_tails.add(request.tail)
            request.tail = NO_TAIL

    def drop(self, request: Request) -> None:
        for block in request.blocks:
            self.users[block] -= 1
        if request.tail != NO_TAIL:
            self.free_tails.add(request.tail)

    def batch(self, requests: list[Request], counts: list[int]) -> Batch:
        table = np.full((len(requests) + 1, BLOCKS), 999, np.int32)
        for row, request in zip(table, requests, strict=False):
            row[: len(request.blocks)] = request.blocks
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Batch(table, starts, [r.num_tokens for r in requests], np.array([r.tail for r in requests], np.int64))


class Schedules(RuleBasedStateMachine):
    @initialize(
        cache=st.sampled_from(TYPES),
        shape=st.sampled_from([(2, 64, 1), (3, 64, 3), (1, 96, 4), (2, 128, 2), (1, 256, 4)]),
        turns=st.booleans(),
        threads=st.sampled_from([1, 2]),
    )
    def start(self, cache: str, shape: tuple[int, int, int], turns: bool, threads: int) -> None:
        heads, d, self.group = shape
        options = {"rope": [10000.0 ** (-2 * i / d) for i in range(d // 2)] if turns else None, "threads": threads}
        self.held = qjl.KvCache(LAYERS, heads, d, cache, max_tokens=64 * PAGE, **options)
        self.cache = PagedCache(LAYERS, heads, d, cache, **options)
        self.random = np.random.default_rng(1)
        self.engine = Engine(self.cache, self.random)
        self.requests: list[Request] = []

    def rows(self, tokens: int, heads: int) -> np.ndarray:
        """Rows of a fused projection: not contiguous, and some of padding behind."""
        d = self.cache.head_dim
        fused = self.random.standard_normal((tokens + 2, heads, 2, d)) + np.linspace(-1, 1, d)
        return fused.astype(np.float32)[:, :, 1]

    def queries(self, tokens: int) -> np.ndarray:
        return self.rows(tokens, self.cache.num_kv_heads * self.group)

    @rule()
    def add(self) -> None:
        self.requests.append(Request(self.held.create(), []))

    @precondition(lambda self: self.requests)
    @rule(number=st.integers(0, 99))
    def fork_at_pages(self, number: int) -> None:
        """A request that starts with the sealed pages of another: a prefix hit."""
        parent = self.requests[number % len(self.requests)]
        full = parent.num_tokens // PAGE
        child = Request(self.held.fork(parent.sequence), parent.blocks[:full], full * PAGE)
        self.held.truncate(child.sequence, full * PAGE)
        for block in child.blocks:
            self.engine.users[block] += 1
        self.requests.append(child)

    @precondition(lambda self: self.requests)
    @rule(number=st.integers(0, 99))
    def abort(self, number: int) -> None:
        request = self.requests.pop(number % len(self.requests))
        self.engine.drop(request)
        self.held.drop(request.sequence)

    @precondition(lambda self: self.requests)
    @rule(counts=st.lists(st.one_of(st.just(1), st.integers(0, 300)), min_size=1, max_size=4), through=st.booleans())
    def steps(self, counts: list[int], through: bool) -> None:
        """Some requests take a step together: beside their new tokens, or through what was appended of them."""
        fitting = zip(self.requests, counts, strict=False)
        chosen = [(r, n) for r, n in fitting if self.engine.prepare(r, n)]
        requests, counts = [r for r, _ in chosen], [n for _, n in chosen]
        batch = self.engine.batch(requests, counts)
        assert (len(batch), batch.tokens) == (len(requests), sum(counts))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        for layer in range(LAYERS):
            heads = self.cache.num_kv_heads
            queries, keys, values = self.queries(starts[-1]), self.rows(starts[-1], heads), self.rows(starts[-1], heads)
            where = (layer, self.engine.pages[layer], self.engine.tails[layer], batch)
            options = {"scale": 0.2, "soft_cap": 20.0, "window": 200} if through else {}
            if through:
                self.cache.append(*where, keys, values)
                out, lse = self.cache.attend(*where, queries, lse=True, **options)
            else:
                given = np.full((*queries.shape[:2], queries.shape[2] + 1), 7, np.float32)[:, :, 1:]
                beside = self.cache.attend(*where, queries, keys=keys, values=values)
                out, lse = self.cache.step(*where, queries, keys, values, out=given, lse=True)
                assert out is given
                assert (given[starts[-1] :] == 7).all(), "rows of padding are not written"
                np.testing.assert_array_equal(beside, out[: starts[-1]])
            assert lse.shape == (starts[-1], self.cache.num_kv_heads * self.group)
            for request, first, end in zip(requests, starts[:-1], starts[1:], strict=True):
                q, k, v = (rows[None, first:end].swapaxes(1, 2) for rows in (queries, keys, values))
                if through:
                    self.held.append(request.sequence, layer, k[0], v[0])
                    wanted = self.held.attend(layer, q, [request.sequence], lse=True, **options)
                else:
                    wanted = self.held.step(layer, q, [request.sequence], k, v, lse=True, **options)
                np.testing.assert_array_equal(out[first:end], wanted[0][0])
                np.testing.assert_array_equal(lse[first:end], wanted[1][0].T)
        for request, count in chosen:
            request.num_tokens += count
            self.engine.close(request)

    @invariant()
    def pages_are_the_same(self) -> None:
        for request in getattr(self, "requests", []):
            for layer in range(LAYERS):
                for page in range(request.num_tokens // PAGE):
                    part = self.engine.pages[layer][request.blocks[page]]
                    for head in range(self.cache.num_kv_heads):
                        wanted_head, body = self.held.page(request.sequence, layer, head, page)
                        found = part[head, : self.cache.page_bytes(layer)].tobytes()
                        assert found == body + wanted_head


def test_random_schedules() -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Schedules, settings=settings(max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=checks)
    )
