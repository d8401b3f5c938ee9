"""SmolLM2-135M and Gemma-3-270M in fp32: greedy text, what compression costs in logits, and honest sizes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from qjl.hf import QJLCache, QJLLayer, enabled
from qjl.hf.forward import cache_argument
from real_models import load, south
from tiny_models import exact_cache, greedy, padded

PROMPTS = {"smollm2": 3072, "gemma3": 2048}
SCORED, STEP, MEASURED = 256, 32, 2048


@pytest.fixture(scope="module", params=PROMPTS)
def read(request):
    """A model with its exact cache of a prompt, the perplexity of the first tokens, and exact logits of what follows."""
    model, _ = load(request.param)
    tokens = south(request.param)[:, : PROMPTS[request.param] + SCORED]
    exact = exact_cache(model)
    named = {cache_argument(model): exact}
    with torch.no_grad():
        hidden = model.model(tokens[:, : PROMPTS[request.param]], **named).last_hidden_state[0, :MEASURED]
        losses = [
            torch.nn.functional.cross_entropy(model.lm_head(hidden[i : i + 256]), tokens[0, i + 1 : i + 257], reduction="sum")
            for i in range(0, MEASURED - 256, 256)
        ]
        last = hidden[MEASURED - 256 : MEASURED - 1]
        losses.append(torch.nn.functional.cross_entropy(model.lm_head(last), tokens[0, MEASURED - 255 : MEASURED], reduction="sum"))
        perplexity = math.exp(sum(losses).item() / (MEASURED - 1))
        kept = copy.deepcopy(exact)
        logits = score(model, exact, tokens)
    return request.param, model, tokens, kept, perplexity, logits


def score(model, cache, tokens):
    """Logits of the last tokens, read through the cache a few at a time."""
    begin = tokens.shape[1] - SCORED
    named = {cache_argument(model): cache}
    return torch.cat([model(tokens[:, i : i + STEP], **named).logits[0] for i in range(begin, tokens.shape[1], STEP)])


def filled(model, exact, cache_type):
    """A cache of the type with what the exact one holds: the keys and values of a first prompt do not depend on the cache."""
    cache = QJLCache(model.config, cache_type)
    for i, layer in enumerate(exact.layers):
        if isinstance(cache.layers[i], QJLLayer):
            cache.update(layer.keys, layer.values, i)
        else:
            cache.layers[i] = copy.deepcopy(layer)
    for layer in cache.compressed:
        layer.flush()
    return cache


def divergence(model, exact, tokens, logits, cache_type):
    with enabled(model):
        found = score(model, filled(model, exact, cache_type), tokens).log_softmax(-1)
    return torch.nn.functional.kl_div(found, logits.log_softmax(-1), log_target=True, reduction="none").sum(-1).mean().item()


# The least and greatest of the engine's seeds 1 to 8, widened by a tenth: channels stand in another order, so codes are another draw.
BOUNDS = {
    "smollm2": {"f16": (0, 1e-4), "k3v2": (0.0127 / 1.1, 0.0166 * 1.1), "k2v2": (0.028 / 1.1, 0.037 * 1.1)},
    "gemma3": {"f16": (0, 1e-4), "k3v2": (0, 0.08), "k4v4": (0, 0.01)},
}
PERPLEXITY = {"smollm2": 26.82, "gemma3": 25.52}


def test_perplexity_and_divergence(read):
    name, model, tokens, exact, perplexity, logits = read
    assert perplexity == pytest.approx(PERPLEXITY[name], abs=0.01)
    for cache_type, (least, most) in BOUNDS[name].items():
        assert least < divergence(model, exact, tokens, logits, cache_type) < most, cache_type


def test_sizes(read):
    name, model, _, exact, _, _ = read
    report = filled(model, exact, "k3v2").memory_report()
    if name == "smollm2":
        assert report["exact_layers"] == 0 and report["ratio"] > 5.2
    else:
        assert (report["compressed_layers"], report["exact_layers"]) == (3, 15)
        assert report["ratio"] < 2  # windows of fp32 are most of it: the honest ratio of the whole


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_text(name):
    model, _ = load(name)
    tokens = south(name)
    for asked in (tokens[:, :400], padded(tokens[:, :400].reshape(2, 200).clone(), [0, 71])):
        wanted = greedy(model, exact_cache(model), asked, 12)
        with enabled(model):
            assert greedy(model, QJLCache(model.config, "f16"), asked, 12) == wanted
