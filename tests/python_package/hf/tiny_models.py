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
SMALLEST = ("LlamaConfig", "LlamaForCausalLM", {"num_hidden_layers": 1, "intermediate_size": 64})


@cache
def model_of(family: str, seed: int = 0) -> Any:
    config_class, model_class, changes = SMALLEST if family == "smallest" else FAMILIES[family]
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
