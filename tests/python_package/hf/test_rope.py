"""RoPE from the config: at layer 0 the same token has the same key everywhere, but for its turning. Turned back, all are equal."""

from __future__ import annotations

import logging

import pytest
import torch
import transformers as tf
from qjl.hf.config import compressed_layers
from qjl.hf.forward import cache_argument
from qjl.rope import Rope, rope_of_layer
from tiny_models import BASE, exact_cache, model_of
from transformers import PreTrainedConfig

YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 1024}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}
KINDS = {
    "default": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
    "linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "yarn": ("Llama", {"rope_parameters": YARN}),
    "partial": (
        "Phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}, "sliding_window": None},
    ),
    "interleaved": ("Cohere", {}),
    "glm": ("Glm", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    "none": ("SmolLM3", {"no_rope_layers": [0, 1], "layer_types": ["full_attention"] * 2}),
}


def turned_back(keys: torch.Tensor, rope: Rope) -> torch.Tensor:
    """Keys [tokens, head_dim] with token p turned by -p times the frequencies."""
    count = len(rope.frequencies)
    angles = -torch.arange(len(keys), dtype=torch.float64)[:, None] * torch.tensor(rope.frequencies, dtype=torch.float64)
    first, second = (
        (slice(0, count), slice(count, 2 * count)) if rope.pairs == "halves" else (slice(0, 2 * count, 2), slice(1, 2 * count, 2))
    )
    out = keys.double().clone()
    a, b = out[:, first].clone(), out[:, second].clone()
    out[:, first], out[:, second] = a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_keys_turn_as_the_config_says(kind):
    family, changes = KINDS[kind]
    config = getattr(tf, f"{family}Config")(**{**BASE, "head_dim": 64, **changes})
    torch.manual_seed(0)
    model = getattr(tf, f"{family}ForCausalLM")(config).eval()
    cache = exact_cache(model)
    model(torch.full((1, 40), 9), **{cache_argument(model): cache})
    keys = cache.layers[0].keys[0, 0]
    rope = rope_of_layer(config, 0, keys.shape[1])
    assert (not rope.frequencies) == (kind == "none")
    back = turned_back(keys, rope)
    torch.testing.assert_close(
        back, back[:1].expand_as(back), atol=1e-4, rtol=0
    )  # fp32 angles below 40: 40 * 2^-24 of keys below 10
    if kind != "none":
        assert (keys - keys[:1]).abs().max() > 0.1  # they did turn


def test_by_layer_type():
    config = model_of("gemma3").config
    full, local = (config.rope_parameters[name]["rope_theta"] for name in ("full_attention", "sliding_attention"))
    assert full != local
    _, compressed = compressed_layers(config, [])
    assert [each.layer_idx for each in compressed] == [5]
    assert compressed[0].rope.frequencies[1] == pytest.approx(full ** (-2 / 256))


def test_unknown_kinds_are_logged_once(caplog):
    config = PreTrainedConfig(rope_parameters={"rope_type": "spiral", "rope_theta": 1.0})
    with caplog.at_level(logging.WARNING, "qjl"):
        assert rope_of_layer(config, 0, 64) == Rope() == rope_of_layer(config, 0, 64)
    assert [record.name for record in caplog.records if "spiral" in record.getMessage()].count("qjl") == 1
