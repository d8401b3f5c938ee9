"""Families beyond the plainest, each a tiny model with random weights: prompt in one pass, in chunks, token by token, and 64 greedy
tokens must be those of `transformers`; and every part of a family is felt: a reference without it is far away."""

import copy

import numpy as np
import pytest
import torch
from gguf_models import write_gguf
from hybrid_cases import HYBRIDS
from reference import (
    MAX_KLD,
    PLAIN,
    Case,
    check,
    clear_ids,
    engine_logits,
    logits_of,
    mean_kld,
    one_expert_fewer,
    set_layers,
    silent,
)

YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
}
LAYERED_YARN = {"full_attention": YARN, "sliding_attention": PLAIN}
GROWING_YARN = YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.5, "max_position_embeddings": 64}
GRANITE = {"embedding_multiplier": 1.5, "residual_multiplier": 0.6, "attention_multiplier": 0.3, "logits_scaling": 4.0}


def longrope(head_dim, original, partial=1.0):
    pairs = int(head_dim * partial) // 2
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": original,
        "short_factor": np.linspace(1.0, 1.3, pairs).tolist(),
        "long_factor": np.linspace(1.0, 6.0, pairs).tolist(),
        "partial_rotary_factor": partial,
    }


def change(**values):
    """Sets numbers of the config; what modules have copied of it is set by break_layers()."""

    def apply(model):
        for name, value in values.items():
            setattr(model.config, name, value)

    return apply


def break_layers(part, name, value):
    return lambda model: set_layers(model, part, name, value)


def identity(part, name):
    return break_layers(part, name, torch.nn.Identity())


def plain_rope(model):
    rotary = model.model.rotary_emb
    pairs = len(rotary.inv_freq)
    rotary.inv_freq.copy_(rotary.config.rope_parameters["rope_theta"] ** -(torch.arange(pairs) / pairs))
    rotary.original_inv_freq.copy_(rotary.inv_freq)


def short_factors(model):
    model.model.rotary_emb.long_inv_freq = model.model.rotary_emb.original_inv_freq


def magnitude_of_one(model):
    model.model.rotary_emb.attention_scaling = 1.0


def turn_all(model):
    set_layers(model, "self_attn", "use_rope", True)


def no_window(model):
    model.config.sliding_window = 1024
    set_layers(model, "self_attn", "sliding_window", None)


def wider_window(model):
    model.config.sliding_window += 1


def reweigh(model):
    for layer in model.model.layers:
        layer.mlp.gate.norm_topk_prob = not layer.mlp.gate.norm_topk_prob


def no_sinks(model):
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.sinks.fill_(-1e4)


def no_clamp(model):
    for layer in model.model.layers:
        layer.mlp.experts.limit = 1e9


def whole_pairs(model):
    config = copy.deepcopy(model.config)
    config.rope_parameters["truncate"] = True
    model.model.rotary_emb.inv_freq.copy_(type(model.model.rotary_emb)(config).inv_freq)


CASES = HYBRIDS | {
    "gemma2": Case(
        "Gemma2",
        (64, 6, 2, True),
        PLAIN,
        {"sliding_window": 40, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 10.0},
        {
            "no window": no_window,
            "a window of one token more": wider_window,
            "no cap of attention": break_layers("self_attn", "attn_logit_softcapping", None),
            "no cap of logits": change(final_logit_softcapping=None),
            "no norm after attention": identity("", "post_attention_layernorm"),
            "no norm after feed-forward": identity("", "post_feedforward_layernorm"),
            "SiLU": break_layers("mlp", "act_fn", torch.nn.SiLU()),
        },
    ),
    "phi3": Case("Phi3", (96, 4, 2, False), PLAIN, {"sliding_window": 50}, {"no window": no_window}),
    "phi3-short": Case(
        "Phi3", (96, 3, 3, False), longrope(96, 256), {"original_max_position_embeddings": 256}, {"plain RoPE": plain_rope}
    ),
    "phi3-long": Case(
        "Phi3",
        (96, 3, 1, True),
        longrope(96, 40, 0.75),
        {"original_max_position_embeddings": 40},
        {"no magnitude": magnitude_of_one, "short factors": short_factors},
    ),
    "phi4": Case("Phi3", (128, 4, 1, False), PLAIN | {"rope_theta": 250000.0}, {"original_max_position_embeddings": 1024}),
    "phi4-mini": Case(
        "Phi3",
        (128, 3, 1, True),
        longrope(128, 40, 0.75),
        {"original_max_position_embeddings": 40, "sliding_window": 1024, "hidden_size": 3 * 128},
        {"no magnitude": magnitude_of_one, "short factors": short_factors},
    ),
    "olmo2": Case(
        "Olmo2",
        (64, 6, 2, False),
        PLAIN,
        {},
        {
            "no norm after attention": identity("", "post_attention_layernorm"),
            "no norm after feed-forward": identity("", "post_feedforward_layernorm"),
            "no norm of keys": identity("self_attn", "k_norm"),
            "no norm of queries": identity("self_attn", "q_norm"),
        },
    ),
    "olmo3": Case(
        "Olmo3",
        (64, 4, 4, False),
        LAYERED_YARN,
        {"num_hidden_layers": 5, "sliding_window": 40},
        {"no window": no_window, "a window of one token more": wider_window},
    ),
    "granite": Case(
        "Granite",
        (64, 4, 2, True),
        PLAIN,
        GRANITE,
        {
            "no scale of embeddings": lambda m: setattr(m.model, "embedding_multiplier", 1.0),
            "no scale of branches": break_layers("", "residual_multiplier", 1.0),
            "the usual scale of attention": break_layers("self_attn", "scaling", 0.125),
            "no scale of logits": change(logits_scaling=1.0),
        },
    ),
    "smollm3": Case("SmolLM3", (64, 4, 1, True), PLAIN, {"num_hidden_layers": 5}, {"RoPE in all layers": turn_all}),
    "ministral3": Case(
        "Ministral3",
        (128, 4, 1, False),
        GROWING_YARN,
        {},
        {"plain RoPE": plain_rope, "queries that do not grow": lambda m: m.config.rope_parameters.update(llama_4_scaling_beta=0.0)},
    ),
    "mixtral": Case(
        "Mixtral",
        (64, 6, 2, False),
        PLAIN,
        {"num_local_experts": 8, "num_experts_per_tok": 2},
        {"one expert fewer": one_expert_fewer},
    ),
    "qwen2moe": Case(
        "Qwen2Moe",
        (64, 6, 2, False),
        PLAIN,
        {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 160, "shared_expert_intermediate_size": 288},
        {
            "weights that sum to 1": reweigh,
            "one expert fewer": one_expert_fewer,
            "no shared expert": silent("shared_expert.down_proj"),
            "half the shared expert": silent("shared_expert_gate"),
        },
    ),
    "qwen3moe": Case(
        "Qwen3Moe",
        (128, 4, 1, True),
        PLAIN,
        {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 192, "norm_topk_prob": True},
        {"weights among all": reweigh, "one expert fewer": one_expert_fewer, "no norm of keys": identity("self_attn", "k_norm")},
    ),
    "granitemoe": Case(
        "GraniteMoe",
        (64, 4, 2, True),
        PLAIN,
        GRANITE | {"num_local_experts": 8, "num_experts_per_tok": 2},
        {"one expert fewer": one_expert_fewer, "no scale of branches": break_layers("", "residual_multiplier", 1.0)},
    ),
    "gpt-oss": Case(
        "GptOss",
        (64, 6, 2, False),
        YARN | {"truncate": False},
        {"num_hidden_layers": 4, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 40},
        {
            "no sinks": no_sinks,
            "no window": no_window,
            "a window of one token more": wider_window,
            "no bias of the output": silent("o_proj.bias"),
            "no bias of the router": silent("router.bias"),
            "no bias of gates": silent("gate_up_proj_bias"),
            "no bias of experts": silent("down_proj_bias"),
            "no clamp": no_clamp,
            "YaRN between whole pairs": whole_pairs,
        },
    ),
    "heads-of-100": Case("Qwen2", (100, 3, 1, True), PLAIN),
    "heads-of-32": Case("Llama", (32, 6, 3, False), PLAIN),
    "yarn": Case("Qwen3", (64, 6, 2, True), YARN, {}, {"plain RoPE": plain_rope}),
    "yarn-given-magnitude": Case("Qwen2", (64, 6, 2, True), YARN | {"attention_factor": 1.3}, {}, {"plain RoPE": plain_rope}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


def test_random_model(case, run_probe, tmp_path):
    model = case.model()
    write_gguf(model, tmp_path / "model.gguf")
    check(model, tmp_path / "model.gguf", clear_ids(model, 200), run_probe, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.breaks], ids=[n for n, c in CASES.items() if c.breaks])
def test_every_part_is_felt(case, run_probe, tmp_path):
    """A reference with one part broken is a hundred times farther from the engine than test_random_model allows."""
    model = case.model()
    ids = clear_ids(model, 200)
    write_gguf(model, tmp_path / "model.gguf")
    found = engine_logits(run_probe, tmp_path / "model.gguf", ids, tmp_path)
    for name, break_part in case.breaks.items():
        broken = case.model()
        break_part(broken)
        kld = mean_kld(logits_of(broken, ids), found)
        print(f"{name}: mean KL divergence {kld:.2e}")
        assert kld > 100 * MAX_KLD, f"{name}: mean KL divergence {kld:.2e}, wanted more than {100 * MAX_KLD}"
