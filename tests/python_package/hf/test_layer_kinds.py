"""Models whose layers are of several kinds: chunked, linear and shared layers keep Transformers' classes and say what they say there."""

from __future__ import annotations

import copy

import pytest
import torch
from qjl import OutOfPages
from qjl.hf import QJLCache, QJLLayer, enabled
from qjl.hf.forward import cache_argument
from tiny_models import OTHER_LAYERS, WINDOW, exact_cache, greedy, model_of, padded, prompt

PROMPT = 150  # more than a page, and three chunks of chunked attention
COMPRESSED = {"llama4": [3], "gemma3n": [1, 3], "qwen3_next": [3], "lfm2": [1]}


@pytest.mark.parametrize("family", OTHER_LAYERS)
def test_only_full_layers_are_compressed(family):
    config = model_of(family).config
    ours, theirs = QJLCache(config), exact_cache(model_of(family))
    assert [i for i, layer in enumerate(ours.layers) if isinstance(layer, QJLLayer)] == COMPRESSED[family]
    for own, wanted in zip(ours.layers, theirs.layers, strict=True):
        assert isinstance(own, QJLLayer) or type(own) is type(wanted)


@pytest.mark.parametrize("family", OTHER_LAYERS)
def test_they_say_what_the_exact_cache_says(family):
    model = model_of(family)
    batch = padded(prompt(2, PROMPT), [0, 17])
    for tokens, more in ((batch, {}), (prompt(1, PROMPT), {"prefill_chunk_size": 40})):
        wanted = greedy(model, exact_cache(model), tokens, 6, **more)
        with enabled(model):
            assert greedy(model, QJLCache(model.config, "f16"), tokens, 6, **more) == wanted


def test_chunked_attention_is_cut_where_its_chunks_are():
    """A window as long would see other tokens: from the second chunk on the logits of a model with windows are others."""
    model, tokens = model_of("llama4"), prompt(1, 3 * WINDOW)
    wanted = model(tokens, use_cache=False).logits
    with enabled(model):
        torch.testing.assert_close(model(tokens, use_cache=False).logits, wanted)
        cache = QJLCache(model.config, "f16")
        named = cache_argument(model)
        parts = [model(part, **{named: cache}).logits for part in tokens.split([WINDOW + 7, WINDOW, WINDOW - 7], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), wanted, atol=2e-2, rtol=0)  # keys and values of 11 bits, logits of order 10


def test_packed_sequences_without_a_cache():
    """Positions that start anew are sequences that do not see each other: a pattern that is written out."""
    model, tokens = model_of("llama"), prompt(1, 60)
    positions = torch.cat([torch.arange(25), torch.arange(35)])[None]
    wanted = model(tokens, position_ids=positions, use_cache=False).logits
    assert not torch.allclose(wanted[:, 25:], model(tokens, use_cache=False).logits[:, 25:], atol=1e-2)
    with enabled(model):
        torch.testing.assert_close(model(tokens, position_ids=positions, use_cache=False).logits, wanted)


# -- layers that others share


def test_a_shared_layer_is_read_by_later_ones_and_stored_once():
    model, tokens = model_of("gemma3n"), prompt(1, 300)
    named = cache_argument(model)
    cache = QJLCache(model.config, "k3v2")
    with enabled(model):
        model(tokens, **{named: cache})
        plain, shared = cache.compressed
        assert (plain.is_shared, shared.is_shared) == (False, True)
        assert (plain.columns, shared.columns, shared.pending.tokens) == (300, 0, 300)  # it waits for those that share it
        model(tokens[:, :1], **{named: cache})
    assert (plain.columns, shared.columns, shared.pending.tokens) == (301, 300, 1)
    assert cache.compressed_tokens_read == 256


@pytest.mark.parametrize(
    ("name", "argument", "order"),
    [
        ("crop", -20, [0, 1]),
        ("reorder_cache", torch.tensor([1, 1]), [1, 1]),
        ("batch_repeat_interleave", 2, [0, 0, 1, 1]),
        ("batch_select_indices", torch.tensor([1]), [1]),
    ],
)
def test_changes_of_a_cache_with_shared_layers(name, argument, order):
    tokens = WINDOW - 8  # windows that are full cannot be cropped
    model, batch = model_of("gemma3n"), padded(prompt(2, tokens), [0, 9])
    named = cache_argument(model)

    def logits(cache):
        model(**batch, **{named: cache})
        getattr(cache, name)(argument)
        mask = batch["attention_mask"][order, : tokens - 20 if name == "crop" else tokens]
        mask = torch.cat([mask, torch.ones(len(order), 1, dtype=torch.long)], 1)
        return model(prompt(len(order), 1, seed=4), attention_mask=mask, **{named: cache}).logits

    wanted = logits(exact_cache(model))
    with enabled(model):
        cache = QJLCache(model.config, "f16")
        torch.testing.assert_close(logits(cache), wanted, atol=2e-2, rtol=0)  # keys and values of 11 bits, logits of order 10
        assert {layer.length for layer in cache.compressed} == {cache.get_seq_length(1)}


def test_copies_of_a_cache_with_shared_layers():
    model, tokens = model_of("gemma3n"), prompt(1, PROMPT)
    named = cache_argument(model)
    cache = QJLCache(model.config, "f16")
    with enabled(model):
        model(tokens, **{named: cache})
        other = copy.deepcopy(cache)
        assert other.compressed[1].is_shared
        new = prompt(1, 1, seed=4)
        assert torch.equal(model(new, **{named: other}).logits, model(new, **{named: cache}).logits)


def test_out_of_pages_with_shared_layers():
    """The plain layer stores first, and must find the pages of every row before any row grows."""
    model = model_of("gemma3n")
    named = cache_argument(model)
    cache = QJLCache(model.config, "k2v2", max_tokens=256)
    batch = padded(prompt(2, 140), [0, 60])
    with enabled(model):
        model(batch["input_ids"][:, :100], attention_mask=batch["attention_mask"][:, :100], **{named: cache})
        plain = cache.compressed[0]
        before = plain.dense(100)
        more = torch.cat([batch["attention_mask"][:, :100], torch.ones(2, 300, dtype=torch.long)], 1)
        more[0, 150] = 0
        with pytest.raises(OutOfPages):
            model(prompt(2, 300, seed=2), attention_mask=more, **{named: cache})
    for old, new in zip(before, plain.dense(100), strict=True):
        assert torch.equal(old, new)
    assert {layer.length for layer in cache.compressed} == {100}


def test_a_graph_cannot_share_layers():
    model = model_of("gemma3n")
    cache = QJLCache(model.config, "f16")
    layer = cache.compressed[1]
    torch._dynamo.reset()
    with enabled(model), pytest.raises(torch._dynamo.exc.TorchDynamoException, match="shared by later layers"):
        torch.compile(layer.update, backend="eager", fullgraph=True)(torch.zeros(1, 2, 3, 64), torch.zeros(1, 2, 3, 64))
