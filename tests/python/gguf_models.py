"""Models between `transformers` and GGUF, both ways.

GGUF holds the rows of llama's q and k so that rotated pairs are neighbours: row 2 i of a head is row i of `transformers`, row
2 i + 1 is row i + head_dim / 2. Others keep the order of `transformers`. Gemma's norms multiply by 1 + w; GGUF holds the sum.
"""

import gguf
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
FAMILY_NAMES = {
    "gemma3_text": {
        "post_attention_norm.weight": "post_attention_layernorm.weight",
        "ffn_norm.weight": "pre_feedforward_layernorm.weight",
        "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    }
}
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3_text": "gemma3"}
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def names(config):
    """GGUF name -> transformers name."""
    layer = (LAYER_NAMES | FAMILY_NAMES.get(config.model_type, {})).items()
    layers = {f"blk.{i}.{ours}": f"model.layers.{i}.{theirs}" for i in range(config.num_hidden_layers) for ours, theirs in layer}
    return OUTER_NAMES | layers


def neighbours(rows, heads):
    """Pairs (i, i + head_dim / 2) of each head become neighbours."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def halves(rows, heads):
    """The inverse of neighbours()."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def reorder(name, array, config, change):
    if config.model_type in ("llama", "mistral") and ".attn_q." in name:
        return change(array, config.num_attention_heads)
    if config.model_type in ("llama", "mistral") and ".attn_k." in name:
        return change(array, config.num_key_value_heads)
    return array


def as_stored(name, array, config):
    """The tensor that GGUF holds under a name."""
    if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
        array = array + 1
    return np.ascontiguousarray(reorder(name, array, config, neighbours))


def write_rope(writer, rope):
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def write_gguf(model, path, rope_divisors=None, quantize=()):
    """Writes a model of `transformers` in fp32; `quantize` is (part of a name, type) pairs for tensors stored otherwise."""
    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(path, ARCHITECTURES[config.model_type])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = model.model.layers[0].self_attn.head_dim
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    write_rope(writer, config.rope_parameters.get("full_attention", config.rope_parameters))
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if rope_divisors is not None:
        writer.add_tensor("rope_freqs.weight", rope_divisors.astype(np.float32))
    for ours, theirs in names(config).items():
        if theirs not in state or (theirs == "lm_head.weight" and config.tie_word_embeddings):
            continue
        array = as_stored(ours, state[theirs].numpy(), config)
        kind = next((kind for part, kind in quantize if part in ours), None)
        if kind is None:
            writer.add_tensor(ours, array)
        else:
            writer.add_tensor(ours, gguf.quants.quantize(array, kind), raw_dtype=kind)
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
