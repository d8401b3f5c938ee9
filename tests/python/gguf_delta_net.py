"""Gated delta nets in GGUF, as llama.cpp's converter writes those of Qwen 3.5."""

import numpy as np

NAMES = {
    "attn_qkv.weight": "linear_attn.in_proj_qkv.weight",
    "attn_gate.weight": "linear_attn.in_proj_z.weight",
    "ssm_alpha.weight": "linear_attn.in_proj_a.weight",
    "ssm_beta.weight": "linear_attn.in_proj_b.weight",
    "ssm_conv1d.weight": "linear_attn.conv1d.weight",
    "ssm_a": "linear_attn.A_log",
    "ssm_dt.bias": "linear_attn.dt_bias",
    "ssm_norm.weight": "linear_attn.norm.weight",
    "ssm_out.weight": "linear_attn.out_proj.weight",
    "ffn_norm.weight": "none",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
}


def state_keys(writer, config):
    writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    writer.add_ssm_state_size(config.linear_key_head_dim)
    writer.add_ssm_group_count(config.linear_num_key_heads)
    writer.add_ssm_time_step_rank(config.linear_num_value_heads)
    writer.add_ssm_inner_size(config.linear_value_head_dim * config.linear_num_value_heads)
    every = config.layer_types.index("full_attention") + 1
    writer.add_full_attention_interval(every)
    writer.add_rope_dimension_sections([11, 11, 10, 0])


def tiled(array, config, width, axis=0):
    """Heads of values, `width` numbers each: those of a key head stand together, and then one of each key head in turn."""
    heads = config.linear_num_key_heads
    shape = array.shape
    parts = array.reshape(*shape[:axis], heads, config.linear_num_value_heads // heads, width, *shape[axis + 1 :])
    return parts.swapaxes(axis, axis + 1).reshape(shape)


def as_stored(name, array, config):
    keys, dim = 2 * config.linear_num_key_heads * config.linear_key_head_dim, config.linear_value_head_dim
    if name.endswith("ssm_a"):
        array = -np.exp(array)
    if name.endswith("ssm_conv1d.weight"):
        array = array[:, 0]
    if name.endswith(("ssm_a", "ssm_dt.bias", "ssm_alpha.weight", "ssm_beta.weight")):
        return tiled(array, config, 1)
    if name.endswith("attn_gate.weight"):
        return tiled(array, config, dim)
    if name.endswith("ssm_out.weight"):
        return tiled(array, config, dim, axis=1)
    if name.endswith(("attn_qkv.weight", "ssm_conv1d.weight")):
        return np.concatenate([array[:keys], tiled(array[keys:], config, dim)])
    return array
