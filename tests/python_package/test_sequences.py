"""Random histories of appends, forks, cuts and drops: a cache holds what its model in NumPy holds, bytes and numbers."""

from __future__ import annotations

import numpy as np
import pytest
import qjl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from model import PAGE, Sequence, attend, bound, score_error

LAYERS, KV_HEADS, MAX_PAGES = 2, 2, 12


class Histories(RuleBasedStateMachine):
    @initialize(
        cache=st.sampled_from(["k3v2", "k2v2", "k4v4", "k1v3:sinks=0", "f16", "kl8vf16:seed=9"]),
        head_dim=st.sampled_from([64, 80]),
        turns=st.booleans(),
        threads=st.sampled_from([1, 2]),
    )
    def start(self, cache: str, head_dim: int, turns: bool, threads: int) -> None:
        rope = [10000.0 ** (-2 * i / head_dim) for i in range(head_dim // 2)] if turns else None
        self.cache = qjl.KvCache(
            LAYERS, KV_HEADS, head_dim, cache, max_tokens=MAX_PAGES * PAGE, rope=rope, rope_pairs="interleaved", threads=threads
        )
        self.codec = qjl.PageCodec(head_dim, cache, rope=rope, rope_pairs="interleaved")
        self.models: dict[int, Sequence] = {}
        self.random = np.random.default_rng(1)

    def rows(self, heads: int, tokens: int) -> np.ndarray:
        d = self.codec.head_dim
        return (self.random.standard_normal((heads, tokens, d)) + np.linspace(-1, 1, d)).astype(np.float32)

    def pick(self, number: int) -> int:
        return sorted(self.models)[number % len(self.models)]

    def pages_held(self) -> int:
        return MAX_PAGES - self.cache.free_pages()

    @rule()
    def create(self) -> None:
        sequence = self.cache.create()
        assert sequence not in self.models
        self.models[sequence] = Sequence.empty(self.codec, self.cache.sink_tokens, LAYERS, KV_HEADS)

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 99), tokens=st.integers(0, 300), layers=st.sampled_from([[0, 1], [1, 0], [0], [1]]))
    def append(self, number: int, tokens: int, layers: list[int]) -> None:
        sequence = self.pick(number)
        for layer in layers:
            keys, values = self.rows(KV_HEADS, tokens), self.rows(KV_HEADS, tokens)
            before = self.pages_held()
            try:
                self.cache.append(sequence, layer, keys, values)
            except qjl.OutOfPages:
                assert self.pages_held() == before
                wanted = (self.models[sequence].layers[layer].length + tokens) // PAGE
                assert wanted > MAX_PAGES - before, "it would have fitted"
                return
            self.models[sequence].layers[layer].append(keys, values)

    @precondition(lambda self: len(self.models) > 1)
    @rule(tokens=st.integers(1, 140), layer=st.integers(0, LAYERS - 1))
    def append_to_all(self, tokens: int, layer: int) -> None:
        ids = sorted(self.models)
        keys = np.stack([self.rows(KV_HEADS, tokens) for _ in ids])
        values = np.stack([self.rows(KV_HEADS, tokens) for _ in ids])
        before = self.pages_held()
        try:
            self.cache.append(ids, layer, keys, values)
        except qjl.OutOfPages:
            assert self.pages_held() == before
            return
        for i, sequence in enumerate(ids):
            self.models[sequence].layers[layer].append(keys[i], values[i])

    @precondition(lambda self: 0 < len(self.models) < 5)
    @rule(number=st.integers(0, 99))
    def fork(self, number: int) -> None:
        parent = self.pick(number)
        try:
            child = self.cache.fork(parent)
        except qjl.OutOfPages:
            assert len({layer.length for layer in self.models[parent].layers}) > 1
            return
        self.models[child] = self.models[parent].fork()

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 99), part=st.floats(0, 1))
    def truncate(self, number: int, part: float) -> None:
        sequence = self.pick(number)
        length = round(part * self.models[sequence].shortest)
        self.cache.truncate(sequence, length)
        for layer in self.models[sequence].layers:
            layer.truncate(length)

    @precondition(lambda self: len(self.models) > 2)
    @rule(number=st.integers(0, 99))
    def drop(self, number: int) -> None:
        sequence = self.pick(number)
        self.cache.drop(sequence)
        del self.models[sequence]

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 99), begin=st.floats(0, 1), end=st.floats(0, 1))
    def read(self, number: int, begin: float, end: float) -> None:
        sequence = self.pick(number)
        for layer, model in enumerate(self.models[sequence].layers):
            first, last = sorted((round(begin * model.length), round(end * model.length)))
            found = self.cache.read(sequence, layer, first, last)
            for ours, wanted in zip(found, model.numbers(), strict=True):
                np.testing.assert_array_equal(ours, wanted[:, first:last])

    # Byte loops add up to 3 % to the variance of the code's own error (docs/decisions/cpu.md); to an output, with few samples, up to
    # three times that. A query's rounding is one error for all tokens of a page, where codes err token by token and average out, so in
    # lse it is measured by the scores: (sum_t w_t e_t)^2 <= sum_t w_t e_t^2.
    @precondition(lambda self: any(model.shortest >= 20 for model in self.models.values()))
    @rule(window=st.sampled_from([None, 1, 100]), soft_cap=st.sampled_from([0.0, 20.0]))
    def attend(self, window: int | None, soft_cap: float) -> None:
        ids = [sequence for sequence, model in self.models.items() if model.shortest >= 20]
        queries = np.stack([self.rows(2 * KV_HEADS, 20) for _ in ids])
        out, lse = self.cache.attend(1, queries, ids, window=window, soft_cap=soft_cap, lse=True)
        for i, sequence in enumerate(ids):
            (keys, values), uncoded = self.models[sequence].layers[1].numbers(), self.models[sequence].layers[1].uncoded()
            how = {"window": window, "soft_cap": soft_cap}
            wanted_out, wanted_lse = attend(queries[i], keys, values, **how)
            out_bound, lse_bound = bound(queries[i], keys, values)
            exact_out, _ = attend(queries[i], *uncoded, **how)
            assert np.mean((out[i] - wanted_out) ** 2) <= 0.09 * np.mean((wanted_out - exact_out) ** 2) + out_bound**2
            assert np.mean((lse[i] - wanted_lse) ** 2) <= 0.03 * score_error(queries[i], keys, uncoded[0], **how) + lse_bound**2

    def teardown(self) -> None:
        for sequence, model in getattr(self, "models", {}).items():
            assert self.cache.num_tokens(sequence) == model.shortest
            for layer, wanted in enumerate(model.layers):
                assert self.cache.num_tokens(sequence, layer) == wanted.length
                for i, page in enumerate(wanted.pages):
                    assert [self.cache.page(sequence, layer, head, i) for head in range(KV_HEADS)] == page


@pytest.mark.filterwarnings("error")
def test_histories() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )
