"""Chunks, crops, forks and batch operations, driven against Transformers' own cache.

Numbers are multiples of 1/8 below 4: 16 bits hold them, so at `f16` rows come back bit for bit, and attention differs by fp32
rounding alone: scores below 64 * 16 / 8 = 128 to 2^-24 * 128 * 2, weights to that relatively, outputs below 4: 4 * 3e-5.
"""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qjl import InvalidArgument, OutOfPages, QjlError, Unsupported
from qjl.hf import QJLCache
from qjl.hf.attention import qjl_attention
from tiny_models import BASE, model_of
from transformers import DynamicCache, LlamaConfig

CONFIG = model_of("llama").config
LAYERS, KV_HEADS, QUERY_HEADS, DIM = 2, 2, 4, 64
TOLERANCE = 1.2e-4


class Both:
    """One history in a QJLCache and a DynamicCache. Half of the chunks are attended to by our function, others only through handles."""

    def __init__(self, batch: int, seed: int) -> None:
        self.ours, self.theirs = QJLCache(CONFIG, "f16"), DynamicCache(config=CONFIG)
        self.batch = batch
        self.numbers = torch.Generator().manual_seed(seed)
        self.module = torch.nn.Module()
        self.module.num_key_value_groups = QUERY_HEADS // KV_HEADS

    def draw(self, heads: int, tokens: int) -> torch.Tensor:
        return torch.randint(-31, 32, (self.batch, heads, tokens, DIM), generator=self.numbers) / 8

    def chunk(self, tokens: int, attended: bool) -> None:
        for layer in range(LAYERS):
            keys, values, queries = self.draw(KV_HEADS, tokens), self.draw(KV_HEADS, tokens), self.draw(QUERY_HEADS, tokens)
            handles = self.ours.update(keys, values, layer)
            dense = self.theirs.update(keys, values, layer)
            for handle, wanted in zip(handles, dense, strict=True):
                assert handle.shape == wanted.shape
                assert torch.equal(handle + 0, wanted)
            if attended:
                found, _ = qjl_attention(self.module, queries, *handles, None, scaling=1 / 8)
                wanted, _ = qjl_attention(self.module, queries, *dense, None, scaling=1 / 8)
                torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=0)

    def change(self, name: str, *arguments) -> None:
        getattr(self.ours, name)(*arguments)
        getattr(self.theirs, name)(*arguments)

    def check(self) -> None:
        for layer in range(LAYERS):
            assert self.ours.get_seq_length(layer) == self.theirs.get_seq_length(layer)
            if self.ours.get_seq_length(layer):
                keys, values = self.ours.layers[layer].dense(self.ours.get_seq_length(layer))
                assert torch.equal(keys, self.theirs.layers[layer].keys)
                assert torch.equal(values, self.theirs.layers[layer].values)


STEPS = st.one_of(
    st.tuples(st.just("chunk"), st.integers(1, 140), st.booleans()),
    st.tuples(st.just("chunk"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("crop"), st.floats(0, 1)),
    st.tuples(st.just("reorder"), st.integers(0, 10**6)),
    st.tuples(st.just("select"), st.integers(0, 10**6)),
    st.tuples(st.just("repeat"), st.integers(1, 2)),
    st.tuples(st.just("record")),
    st.tuples(st.just("copy")),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(0, 99), st.lists(STEPS, min_size=1, max_size=7))
def test_any_history(batch, seed, steps):
    both = Both(batch, seed)
    both.chunk(5, True)
    for name, *arguments in steps:
        if name == "chunk":
            both.chunk(*arguments)
        elif name == "crop":
            both.change("crop", -int(arguments[0] * both.theirs.get_seq_length()))
        elif name == "record":
            both.change("activate_past_recording")
        elif name == "copy":
            old, both.ours = both.ours, copy.deepcopy(both.ours)
            old.crop(-old.get_seq_length())  # goes its own way
        elif name == "repeat" and both.batch <= 3:
            both.change("batch_repeat_interleave", *arguments)
            both.batch *= arguments[0]
        elif name in ("reorder", "select"):
            numbers = torch.Generator().manual_seed(arguments[0])
            size = both.batch if name == "reorder" else int(torch.randint(1, both.batch + 1, (), generator=numbers))
            rows = torch.randint(0, both.batch, (size,), generator=numbers)
            both.change({"reorder": "reorder_cache", "select": "batch_select_indices"}[name], rows)
            both.batch = size
        both.check()


def test_a_rejected_draft_never_seals_a_page():
    both = Both(1, 0)
    both.chunk(120, True)
    both.change("activate_past_recording")
    both.chunk(20, True)
    layer = both.ours.layers[0]
    assert layer.columns == 120 and layer.pending.tokens == 20
    both.change("crop", -15)
    assert layer.columns == 125 and layer.pending is None
    assert layer.store.kv.memory_report()["sealed_pages"] + layer.store.kv.memory_report()["free_pages"] == 0
    both.chunk(9, True)
    both.change("crop", 0)  # accepted
    assert layer.columns == 134 and layer.pending is None
    both.check()


def test_crop_into_a_coded_page_keeps_what_its_codes_stand_for():
    cache = QJLCache(CONFIG, "k4v4")
    both = Both(1, 0)
    for layer in range(LAYERS):
        cache.update(both.draw(KV_HEADS, 300), both.draw(KV_HEADS, 300), layer)
    cache.crop(0)
    before = cache.layers[0].dense(200)
    cache.crop(-100)
    after = cache.layers[0].dense(200)
    half = torch.finfo(torch.float16).eps  # a reopened row is rounded once more
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, atol=0, rtol=half)


@pytest.mark.parametrize("count", [1, -6])
def test_wrong_crops(count):
    both = Both(1, 0)
    both.chunk(5, True)
    with pytest.raises(InvalidArgument, match=f"tokens_to_remove is {count}, wanted -5 to 0"):
        both.ours.crop(count)
    both.check()


def test_wrong_rows_and_single_layers():
    both = Both(2, 0)
    both.chunk(5, True)
    with pytest.raises(InvalidArgument, match="wanted one or more of 0 to 1"):
        both.ours.reorder_cache(torch.tensor([0, 2]))
    layer = both.ours.layers[1]
    one = torch.tensor([0])
    for name, argument in (("crop", -1), ("reorder_cache", one), ("batch_select_indices", one), ("batch_repeat_interleave", 2)):
        with pytest.raises(Unsupported, match=rf"\[{name}\] layer 1 is asked alone"):
            getattr(layer, name)(argument)
    both.check()


def test_identity_order_forks_nothing():
    both = Both(2, 0)
    both.chunk(5, True)
    rows = list(both.ours.session.stores[0].rows)
    both.ours.reorder_cache(torch.tensor([0, 1]))
    assert both.ours.session.stores[0].rows == rows
    both.ours.reorder_cache(torch.tensor([1, 0]))
    assert both.ours.session.stores[0].rows != rows


def test_exact_layers_of_a_hybrid_follow():
    config = model_of("gemma3").config
    ours, theirs = QJLCache(config, "f16"), DynamicCache(config=config)
    changes = (
        ("reorder_cache", torch.tensor([1, 0])),
        ("batch_repeat_interleave", 2),
        ("batch_select_indices", torch.tensor([3, 1])),
        ("crop", -2),
        ("reset",),
    )
    for layer in range(6):
        rows = torch.randint(-31, 32, (2, 2, 9, 256)) / 8
        for cache in (ours, theirs):
            cache.update(rows, -rows, layer)
    for name, *arguments in changes:
        for cache in (ours, theirs):
            getattr(cache, name)(*arguments)
        for i, (own, wanted) in enumerate(zip(ours.layers, theirs.layers, strict=True)):
            assert own.get_seq_length() == wanted.get_seq_length(), name
            if name != "reset":
                keys = own.dense(own.length)[0] if i == 5 else own.keys
                assert torch.equal(keys, wanted.keys), name


def test_reset_starts_anew():
    both = Both(2, 0)
    both.chunk(200, True)
    both.change("reset")
    assert both.ours.get_seq_length() == 0
    both.batch = 1
    both.chunk(3, True)
    both.check()


def test_handles_of_a_changed_cache():
    both = Both(1, 0)
    both.chunk(5, True)
    keys, _ = both.ours.update(both.draw(KV_HEADS, 1), both.draw(KV_HEADS, 1), 0)
    both.ours.crop(-1)
    with pytest.raises(QjlError, match="before a crop"):
        keys + 0


def test_dropped_caches_give_their_pages_back():
    cache = QJLCache(CONFIG, "f16")
    kv = cache.session.stores[0].kv
    both = Both(1, 0)
    both.ours = cache
    both.chunk(300, True)
    other = copy.deepcopy(cache)
    used = kv.memory_report()["sealed_pages"]
    assert used > 0
    del cache, both
    assert kv.memory_report()["sealed_pages"] == used  # the copy's
    del other
    assert kv.memory_report()["sealed_pages"] == 0


def unequal(num_layers: int):
    """A config whose second layer has four kv heads, the others two."""
    return LlamaConfig(**{**BASE, "num_hidden_layers": num_layers, "per_layer_config": {1: {"num_key_value_heads": 4}}})


def test_layers_of_unequal_shape_have_caches_of_their_own(tmp_path):
    config = unequal(3)
    cache, exact = QJLCache(config, "f16"), DynamicCache(config=config)
    stores = cache.session.stores
    assert [(store.kv.num_layers, store.kv.num_kv_heads) for store in stores] == [(2, 2), (1, 4)]
    for tokens in (150, 3):
        for layer, heads in enumerate((2, 4, 2)):
            keys, values = torch.randint(-31, 32, (2, 2, heads, tokens, 64)) / 8  # 16 bits hold them
            handles, dense = cache.update(keys, values, layer), exact.update(keys, values, layer)
            assert all(torch.equal(handle + 0, wanted) for handle, wanted in zip(handles, dense, strict=True))
    for each in (cache, exact):
        each.reorder_cache(torch.tensor([1, 1]))
        each.crop(-30)
    assert {store.kv.num_tokens(row, layer) for store in stores for row in store.rows for layer in range(store.kv.num_layers)} == {
        123
    }
    for own, wanted in zip(cache.layers, exact.layers, strict=True):
        assert torch.equal(own.dense(123)[0], wanted.keys)
    with pytest.raises(Unsupported, match="have 2 shapes, wanted one"):
        cache.save(tmp_path / "none.qjlkv.safetensors")


def test_forks_that_fail_leave_the_cache_as_it_was(monkeypatch):
    """The second store has no room: what the first one forked is dropped again, and so is a part of one store's."""
    cache = QJLCache(unequal(2), "f16")
    for layer, heads in enumerate((2, 4)):
        cache.update(torch.ones(2, heads, 5, 64), torch.ones(2, heads, 5, 64), layer)
    before = [list(store.rows) for store in cache.session.stores]
    second = cache.session.stores[1].kv
    fork = second.fork

    def fork_once(row):
        monkeypatch.setattr(second, "fork", refuse)
        return fork(row)

    def refuse(row):
        raise OutOfPages("[fork] none is free")

    monkeypatch.setattr(second, "fork", fork_once, raising=False)
    with pytest.raises(OutOfPages):
        cache.reorder_cache(torch.tensor([1, 0]))
    assert [store.rows for store in cache.session.stores] == before
    assert [store.kv.sequences() for store in cache.session.stores] == before
