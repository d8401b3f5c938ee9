"""Small models with random weights, one of each family that differs in its attention, and how they are asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers as tf
from qjl.hf.forward import cache_argument

WINDOW = 48  # shorter than every prompt here
BASE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "initializer_range": 0.1,  # logits far enough apart that 16-bit keys choose the same token
}
HYBRID = {"num_hidden_layers": 4, "sliding_window": WINDOW}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
SHARED = {
    "num_hidden_layers": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 4,
    "num_kv_shared_layers": 3,
    "sliding_window": WINDOW,
    "intermediate_size": [256] * 8,
    "hidden_size_per_layer_input": 16,
    "vocab_size_per_layer_input": 300,
    "laurel_rank": 8,
    "altup_num_inputs": 2,
    "activation_sparsity_pattern": [0.0] * 8,
}
LINEAR = {
    "num_hidden_layers": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
}

# family -> (config class, model class, what differs from BASE)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": None}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**HYBRID, "attn_logit_softcapping": 0.5}),  # every second layer a window
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**HYBRID, "num_hidden_layers": 6, "head_dim": 256}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", {"hidden_size": 384, "head_dim": 96, "sliding_window": None}),
    "gpt_oss": ("GptOssConfig", "GptOssForCausalLM", {**HYBRID, **EXPERTS}),  # sinks
}
# Families with layers of other kinds beside the full ones.
OTHER_LAYERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama4": (  # three layers of chunked attention, one full without RoPE
        "Llama4TextConfig",
        "Llama4ForCausalLM",
        {"num_hidden_layers": 4, "attention_chunk_size": WINDOW, "num_local_experts": 4, "intermediate_size_mlp": 256},
    ),
    "gemma3n": ("Gemma3nTextConfig", "Gemma3nForCausalLM", SHARED),  # layers 5 to 7 read the keys and values of 3 and 4
    "qwen3_next": ("Qwen3NextConfig", "Qwen3NextForCausalLM", LINEAR),  # three layers without keys and values
    "lfm2": ("Lfm2Config", "Lfm2ForCausalLM", {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]}),
}
SMALLEST = ("LlamaConfig", "LlamaForCausalLM", {"num_hidden_layers": 1, "intermediate_size": 64})


@cache
def model_of(family: str, seed: int = 0) -> Any:
    config_class, model_class, changes = {"smallest": SMALLEST, **FAMILIES, **OTHER_LAYERS}[family]
    config = getattr(tf, config_class)(**{**BASE, **changes})
    torch.manual_seed(seed)
    return getattr(tf, model_class)(config).eval()


def prompt(batch: int, tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(5, BASE["vocab_size"], (batch, tokens), generator=torch.Generator().manual_seed(seed))


def padded(tokens: torch.Tensor, padding: list[int]) -> dict[str, torch.Tensor]:
    """Row i with its first padding[i] columns hidden."""
    mask = torch.ones_like(tokens)
    for row, count in enumerate(padding):
        mask[row, :count] = 0
    return {"input_ids": tokens * mask, "attention_mask": mask}


def greedy(model: Any, cache: Any, tokens: Any, new_tokens: int = 12, **more: Any) -> list[list[int]]:
    """New tokens of every row. `tokens`: input_ids, or what padded() gives."""
    inputs = tokens if isinstance(tokens, dict) else {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    named = {cache_argument(model): cache}
    out = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False, **named, **more)
    return out[:, inputs["input_ids"].shape[1] :].tolist()


def exact_cache(model: Any) -> Any:
    return tf.DynamicCache(config=model.config)
