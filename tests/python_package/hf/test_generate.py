"""At `f16` a model says what it says over Transformers' own cache: every family, every way to fill and read a cache."""

from __future__ import annotations

import pytest
import torch
from qjl.hf import QJLCache, enabled
from qjl.hf.forward import cache_argument
from tiny_models import FAMILIES, exact_cache, greedy, model_of, padded, prompt

PROMPT = 150  # more than a page, and more than every window
PADDING = [0, 17, 130]
OTHER_FUNCTIONS = [
    (family, name)
    for family in FAMILIES
    for name in ("sdpa", "eager")
    if (family, name) not in {("gemma2", "sdpa"), ("gpt_oss", "sdpa")}
]


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_padded_and_chunked_prompts(family):
    model = model_of(family)
    alone, batch = prompt(1, PROMPT), padded(prompt(3, PROMPT), PADDING)
    for tokens, more in ((alone, {}), (batch, {}), (alone, {"prefill_chunk_size": 40}), (batch, {"prefill_chunk_size": 40})):
        wanted = greedy(model, exact_cache(model), tokens, **more)
        cache = QJLCache(model.config, "f16")
        with enabled(model):
            assert greedy(model, cache, tokens, **more) == wanted
        rows = tokens["attention_mask"].sum(1).tolist() if isinstance(tokens, dict) else [PROMPT]
        store = cache.session.stores[0]
        assert [store.kv.num_tokens(row) for row in store.rows] == [count + 11 for count in rows]  # the last token is never fed


@pytest.mark.parametrize(("family", "name"), OTHER_FUNCTIONS)
def test_other_attention_functions_read_handles(family, name):
    model = model_of(family)
    batch = padded(prompt(2, PROMPT), [0, 9])
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        assert greedy(model, QJLCache(model.config, "f16"), batch, 6) == greedy(model, exact_cache(model), batch, 6)
    finally:
        model.set_attn_implementation(before)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_beams(family):
    model, tokens = model_of(family), prompt(1, PROMPT)
    wanted = greedy(model, exact_cache(model), tokens, num_beams=3)
    with enabled(model):
        assert greedy(model, QJLCache(model.config, "f16"), tokens, num_beams=3) == wanted


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
def test_assisted_and_looked_up_drafts(family):
    model = model_of(family)
    repeated = prompt(1, 60).repeat(1, 3)
    for tokens, more in (
        (prompt(1, PROMPT), {"assistant_model": model_of("llama", 7)}),
        (repeated, {"prompt_lookup_num_tokens": 5}),
    ):
        wanted = greedy(model, exact_cache(model), tokens, 24)
        cache = QJLCache(model.config, "f16")
        with enabled(model):
            assert greedy(model, cache, tokens, 24, **more) == wanted
        assert cache.is_recording_past(cache.compressed[0].layer_idx)


def test_second_turn():
    model = model_of("gemma3")
    first, second = prompt(1, PROMPT), prompt(1, 30, seed=2)
    named = cache_argument(model)

    def turns(cache):
        said = model.generate(first, attention_mask=torch.ones_like(first), max_new_tokens=8, do_sample=False, **{named: cache})
        both = torch.cat([said, second], 1)
        return model.generate(
            both, attention_mask=torch.ones_like(both), max_new_tokens=8, do_sample=False, **{named: cache}
        ).tolist()

    wanted = turns(exact_cache(model))
    with enabled(model):
        assert turns(QJLCache(model.config, "f16")) == wanted


def test_without_a_cache_the_function_is_torchs():
    for family in ("llama", "gemma3"):
        model, batch = model_of(family), padded(prompt(2, 90), [0, 20])
        wanted = model(**batch, use_cache=False).logits
        with enabled(model):
            found = model(**batch, use_cache=False).logits
        shown = batch["attention_mask"].bool()
        torch.testing.assert_close(found[shown], wanted[shown])


def test_compressed_numbers_are_read():
    """Two bits a number must change logits, four bits less so: what is attended to is what the pages hold."""
    model, tokens = model_of("llama"), prompt(1, 400)
    last = prompt(1, 1, seed=3)
    named = cache_argument(model)

    def logits(cache):
        model(tokens, **{named: cache})
        return model(last, **{named: cache}).logits

    wanted = logits(exact_cache(model))
    with enabled(model):
        errors = {name: (logits(QJLCache(model.config, name)) - wanted).norm().item() for name in ("f16", "k4v4", "k2v2")}
    assert errors["f16"] < errors["k4v4"] < errors["k2v2"]
    assert errors["f16"] < 0.01 * errors["k4v4"]
