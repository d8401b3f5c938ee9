"""Models whose layers keep a recurrent state, as cases of test_families.py."""

import torch
from reference import PLAIN, Case, one_expert_fewer, silent


def deltas(model):
    return [layer.linear_attn for layer in model.model.layers if hasattr(layer, "linear_attn")]


def no_gate_of_heads(model):
    """Gates of 1/2 everywhere."""
    with torch.no_grad():
        for layer in model.model.layers:
            if hasattr(layer, "self_attn"):
                dim = layer.self_attn.head_dim
                layer.self_attn.q_proj.weight.view(-1, 2, dim, model.config.hidden_size)[:, 1].zero_()


def one_tap(model):
    with torch.no_grad():
        for delta in deltas(model):
            delta.conv1d.weight[..., :-1].zero_()


def no_decay(model):
    with torch.no_grad():
        for delta in deltas(model):
            delta.A_log.fill_(-100.0)


def plain_rate(model):
    with torch.no_grad():
        for delta in deltas(model):
            delta.in_proj_b.weight.zero_()


def other_value_heads(model):
    """The last value head of all in the place of the first."""
    with torch.no_grad():
        for delta in deltas(model):
            delta.out_proj.weight.copy_(delta.out_proj.weight.roll(delta.head_v_dim, 1))


QUARTER = PLAIN | {"partial_rotary_factor": 0.25}
DELTA = {
    "num_hidden_layers": 5,
    "full_attention_interval": 3,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 48,
}
BREAKS = {
    "no gate of heads": no_gate_of_heads,
    "no convolution": one_tap,
    "no decay": no_decay,
    "the same rate for all": plain_rate,
    "value heads in another order": other_value_heads,
}

HYBRIDS = {
    "qwen3.5": Case("Qwen3_5", (128, 3, 1, True), QUARTER, DELTA, BREAKS),
    "qwen3.5-one-value-a-key": Case(
        "Qwen3_5",
        (64, 4, 2, False),
        QUARTER,
        DELTA | {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_value_head_dim": 48, "num_hidden_layers": 4},
    ),
    "qwen3.5moe": Case(
        "Qwen3_5Moe",
        (64, 6, 2, False),
        QUARTER,
        DELTA | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 160, "shared_expert_intermediate_size": 288},
        {"one expert fewer": one_expert_fewer, "no shared expert": silent("shared_expert.down_proj"), "no decay": no_decay},
    ),
}
