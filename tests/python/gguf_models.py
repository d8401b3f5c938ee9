"""Models between `transformers` and GGUF, both ways.

GGUF holds the rows of llama's q and k so that rotated pairs are neighbours: row 2 i of a head is row i of `transformers`, row
2 i + 1 is row i + head_dim / 2. Others keep the order of `transformers`. Gemma's norms multiply by 1 + w; GGUF holds the sum.
"""

import dataclasses

import gguf
import gguf_delta_net
import numpy as np
import torch
import transformers

LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
POST_NORMS = {
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}
SHARED_EXPERT = {f"ffn_{part}_shexp.weight": f"mlp.shared_expert.{part}_proj.weight" for part in ("gate", "up", "down")} | {
    "ffn_gate_inp.weight": "mlp.gate.weight",
    "ffn_gate_inp_shexp.weight": "mlp.shared_expert_gate.weight",
}


def gemma_keys(writer, config):
    writer.add_sliding_window(config.sliding_window)
    if config.final_logit_softcapping:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.attn_logit_softcapping:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)


def window_keys(writer, config):
    if config.sliding_window:
        writer.add_sliding_window(config.sliding_window)


def granite_keys(writer, config):
    writer.add_embedding_scale(config.embedding_multiplier)
    writer.add_residual_scale(config.residual_multiplier)
    writer.add_attention_scale(config.attention_multiplier)
    writer.add_logit_scale(config.logits_scaling)


def ministral3_keys(writer, config):
    writer.add_attn_temperature_scale(config.rope_parameters["llama_4_scaling_beta"])


def expert_keys(writer, config):
    writer.add_expert_count(getattr(config, "num_local_experts", None) or config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_feed_forward_length(getattr(config, "moe_intermediate_size", None) or config.intermediate_size)
    if hasattr(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


@dataclasses.dataclass(frozen=True)
class Family:
    """How one model_type of `transformers` stands in GGUF."""

    architecture: str
    names: dict = dataclasses.field(default_factory=dict)  # tensors of a layer that have other names than llama's
    keys: tuple = ()  # what writes the family's own keys
    has_neighbours: bool = False  # rows of q and k are held so that rotated pairs are neighbours
    adds_one: bool = False  # norms multiply by 1 + w
    experts: str = ""  # where a layer has its experts
    tiles_values: bool = False  # heads of values stand in turns of their key heads, not group by group


FAMILIES = {
    "llama": Family("llama", has_neighbours=True),
    "mistral": Family("llama", has_neighbours=True),
    "mixtral": Family(
        "llama", {"ffn_gate_inp.weight": "mlp.gate.weight"}, (expert_keys,), has_neighbours=True, experts="mlp.experts"
    ),
    "ministral3": Family("mistral3", keys=(ministral3_keys,), has_neighbours=True),
    "smollm3": Family("smollm3", has_neighbours=True),
    "granite": Family("granite", keys=(granite_keys,), has_neighbours=True),
    "granitemoe": Family(
        "granitemoe",
        {"ffn_gate_inp.weight": "block_sparse_moe.router.weight"},
        (granite_keys, expert_keys),
        has_neighbours=True,
        experts="block_sparse_moe.experts",
    ),
    "qwen2": Family("qwen2"),
    "qwen2_moe": Family("qwen2moe", SHARED_EXPERT, (expert_keys,), experts="mlp.experts"),
    "qwen3": Family("qwen3"),
    "qwen3_moe": Family("qwen3moe", {"ffn_gate_inp.weight": "mlp.gate.weight"}, (expert_keys,), experts="mlp.experts"),
    "qwen3_5_text": Family("qwen35", gguf_delta_net.NAMES, (gguf_delta_net.state_keys,), adds_one=True, tiles_values=True),
    "qwen3_5_moe_text": Family(
        "qwen35moe",
        gguf_delta_net.NAMES | SHARED_EXPERT,
        (gguf_delta_net.state_keys, expert_keys),
        adds_one=True,
        experts="mlp.experts",
        tiles_values=True,
    ),
    "gemma2": Family("gemma2", POST_NORMS, (gemma_keys,), adds_one=True),
    "gemma3_text": Family("gemma3", POST_NORMS, (gemma_keys,), adds_one=True),
    "phi3": Family(
        "phi3", {"attn_qkv.weight": "self_attn.qkv_proj.weight", "ffn_up.weight": "mlp.gate_up_proj.weight"}, (window_keys,)
    ),
    "olmo2": Family("olmo2", POST_NORMS),
    "olmo3": Family("olmo2", POST_NORMS, (window_keys,)),
    "gpt_oss": Family(
        "gpt-oss",
        {
            "ffn_norm.weight": "none",
            "post_attention_norm.weight": "post_attention_layernorm.weight",
            "attn_output.bias": "self_attn.o_proj.bias",
            "attn_sinks.weight": "self_attn.sinks",
            "ffn_gate_inp.weight": "mlp.router.weight",
            "ffn_gate_inp.bias": "mlp.router.bias",
        },
        (window_keys, expert_keys),
        experts="mlp.experts",
    ),
}
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def names(config):
    """GGUF name -> transformers name."""
    layer = (LAYER_NAMES | FAMILIES[config.model_type].names).items()
    layers = {f"blk.{i}.{ours}": f"model.layers.{i}.{theirs}" for i in range(config.num_hidden_layers) for ours, theirs in layer}
    return OUTER_NAMES | layers


def neighbours(rows, heads):
    """Pairs (i, i + head_dim / 2) of each head become neighbours."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def halves(rows, heads):
    """The inverse of neighbours()."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def reorder(name, array, config, change):
    if FAMILIES[config.model_type].has_neighbours and ".attn_q." in name:
        return change(array, config.num_attention_heads)
    if FAMILIES[config.model_type].has_neighbours and ".attn_k." in name:
        return change(array, config.num_key_value_heads)
    return array


def as_stored(name, array, config):
    """The tensor that GGUF holds under a name."""
    if FAMILIES[config.model_type].adds_one and name.endswith("norm.weight") and not name.endswith("ssm_norm.weight"):
        array = array + 1
    if FAMILIES[config.model_type].tiles_values:
        array = gguf_delta_net.as_stored(name, array, config)
    if name.endswith("ffn_gate_inp_shexp.weight"):
        array = array[0]
    return np.ascontiguousarray(reorder(name, array, config, neighbours))


def expert_tensors(config, state):
    """GGUF holds gate and up apart, each [experts, width, hidden]; gpt-oss has them column by column, the other way around."""
    path = FAMILIES[config.model_type].experts
    for i in range(config.num_hidden_layers if path else 0):
        weights = {name: state[f"model.layers.{i}.{path}.{name}"].numpy() for name in ("gate_up_proj", "down_proj")}
        both, down = weights["gate_up_proj"], weights["down_proj"]
        if config.model_type == "gpt_oss":
            biases = state[f"model.layers.{i}.{path}.gate_up_proj_bias"].numpy()
            yield f"blk.{i}.ffn_gate_exps.bias", biases[:, ::2]
            yield f"blk.{i}.ffn_up_exps.bias", biases[:, 1::2]
            yield f"blk.{i}.ffn_down_exps.bias", state[f"model.layers.{i}.{path}.down_proj_bias"].numpy()
            gate, up, down = (part.swapaxes(1, 2) for part in (both[:, :, ::2], both[:, :, 1::2], down))
        else:
            gate, up = np.split(both, 2, axis=1)
        yield f"blk.{i}.ffn_gate_exps.weight", gate
        yield f"blk.{i}.ffn_up_exps.weight", up
        yield f"blk.{i}.ffn_down_exps.weight", down


def write_rope(writer, rope, config):
    kind = rope["rope_type"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "yarn":
        writer.add_rope_scaling_yarn_beta_fast(rope.get("beta_fast", 32.0))
        writer.add_rope_scaling_yarn_beta_slow(rope.get("beta_slow", 1.0))
    if kind == "yarn" and "mscale_all_dim" in rope:
        writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
    if kind == "yarn" and "attention_factor" in rope:
        writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
    if kind == "longrope":
        writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        writer.add_rope_dimension_count(int(config.head_dim * rope["partial_rotary_factor"]))


def feed_forward_length(model):
    """The config's number, or one of each layer where a test has given them unequal widths."""
    parts = [getattr(getattr(layer, "mlp", None), "down_proj", None) for layer in model.model.layers]
    widths = [part.in_features for part in parts if isinstance(part, torch.nn.Linear)]
    return widths if len(set(widths)) > 1 else getattr(model.config, "intermediate_size", None)


def write_gguf(model, path, rope_divisors=None, quantize=()):
    """Writes a model of `transformers` in fp32; `quantize` is (part of a name, type) pairs for tensors stored otherwise."""
    config, state = model.config, model.state_dict()
    family = FAMILIES[config.model_type]
    writer = gguf.GGUFWriter(path, family.architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    if (length := feed_forward_length(model)) is not None:
        writer.add_feed_forward_length(length)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = next(layer.self_attn.head_dim for layer in model.model.layers if hasattr(layer, "self_attn"))
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    write_rope(writer, config.rope_parameters.get("full_attention", config.rope_parameters), config)
    for write_keys in family.keys:
        write_keys(writer, config)
    if rope_divisors is not None:
        writer.add_tensor("rope_freqs.weight", rope_divisors.astype(np.float32))
    tensors = [
        (ours, as_stored(ours, state[theirs].numpy(), config))
        for ours, theirs in names(config).items()
        if theirs in state and not (theirs == "lm_head.weight" and config.tie_word_embeddings)
    ]
    for name, array in [*tensors, *expert_tensors(config, state)]:
        kind = next((kind for part, kind in quantize if part in name), None)
        if kind is None:
            writer.add_tensor(name, np.ascontiguousarray(array))
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_llama(path):
    """A LlamaForCausalLM in fp32 with the dequantised weights of a GGUF file of architecture llama."""
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.fields["llama." + name].contents()

    tensors = {t.name: t for t in reader.tensors}
    config = transformers.LlamaConfig(
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        vocab_size=int(tensors["token_embd.weight"].shape[1]),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=field("context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")},
        tie_word_embeddings="output.weight" not in tensors,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    state = {}
    for ours, theirs in names(config).items():
        if ours in tensors:
            array = gguf.quants.dequantize(tensors[ours].data, tensors[ours].tensor_type).copy()
            state[theirs] = torch.from_numpy(np.ascontiguousarray(reorder(ours, array, config, halves)))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"} and (not missing or config.tie_word_embeddings), f"no tensors for {missing}"
    return model
