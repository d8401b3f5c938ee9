"""What a QJLCache reads from a model's config: which layers are compressed, their shapes, and what it must refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers.cache_utils import DynamicCache, DynamicLayer

from qjl import InvalidArgument, Unsupported
from qjl._core import HEAD_DIMS
from qjl.rope import Rope, rope_of_layer


@dataclass(frozen=True)
class Shape:
    """Layers of one shape share a KvCache."""

    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Compressed:
    layer_idx: int
    shape: Shape
    rope: Rope
    shared: bool  # later layers attend to what it holds


def check_config(config: Any) -> Any:
    """The text config of a model that a QJLCache can serve. Errors: Unsupported, by name."""
    if getattr(config, "is_encoder_decoder", False):
        raise Unsupported(f"[config] {config.model_type} has an encoder, wanted a decoder alone")
    text = config.get_text_config(decoder=True)
    if getattr(text, "kv_lora_rank", None):
        raise Unsupported(
            f"[config] {text.model_type} has multi-head latent attention (kv_lora_rank {text.kv_lora_rank}), wanted plain heads"
        )
    return text


def compressed_layers(config: Any, skip_layers: list[int]) -> tuple[list[Any], list[Compressed]]:
    """The layers of Transformers for a config, and those of them whose place a QJLLayer takes: full attention, not skipped."""
    text = check_config(config)
    layers = DynamicCache(config=text).layers
    wrong = [i for i in skip_layers if not 0 <= i < len(layers)]
    if wrong:
        raise InvalidArgument(f"[config] skip_layers has {wrong}, wanted layers 0 to {len(layers) - 1}")
    places = [i for i, layer in enumerate(layers) if type(layer) is DynamicLayer]
    if not places:
        kinds = sorted({type(layer).__name__ for layer in layers})
        raise Unsupported(f"[config] {text.model_type} has no full-attention layer, wanted one to compress: its layers are {kinds}")
    chosen = [i for i in places if i not in skip_layers]
    if not chosen:
        raise InvalidArgument(f"[config] skip_layers leaves out all full-attention layers {places}, wanted one to compress")
    return layers, [_compressed(text, i) for i in chosen]


def _compressed(text: Any, layer_idx: int) -> Compressed:
    by_layer = getattr(text, "per_layer_config", None)  # transformers 5.24: layers may differ
    config = by_layer[layer_idx] if by_layer else text
    query_heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or query_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    if head_dim not in HEAD_DIMS:
        raise Unsupported(
            f"[config] layer {layer_idx} of {text.model_type} has head_dim {head_dim}, wanted one of {list(HEAD_DIMS)}"
        )
    modes = getattr(text, "kv_sharing_modes", None)  # transformers 5.24; before, any layer may be one that is shared
    shared = modes[layer_idx] == "store" if modes else bool(getattr(text, "num_kv_shared_layers", 0))
    return Compressed(layer_idx, Shape(kv_heads, head_dim), rope_of_layer(text, layer_idx, head_dim), shared)
