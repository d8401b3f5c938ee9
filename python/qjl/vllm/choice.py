"""Which layers are ours, and which backend each of them gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.config import get_current_vllm_config
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionType

from qjl.errors import Unsupported
from qjl.vllm.check import asked_for, layer_types


def backend_of(layer: Mapping[str, Any]) -> type | None:
    """`layer`: the arguments of an Attention. Our backend for a decoder's full attention over its own keys, unless its layer is
    skipped; None leaves the choice to vLLM. Errors: Unsupported, by name."""
    config = get_current_vllm_config()
    if not asked_for(config) or layer["attn_type"] != AttentionType.DECODER or _window(layer):
        return None
    cache_type = layer_types(config)[extract_layer_index(layer["prefix"])]
    if cache_type is None:
        return None
    found = [name for name in ("alibi_slopes", "kv_sharing_target_layer_name") if layer[name] is not None]
    if layer["head_size_v"] not in (None, layer["head_size"]):
        found.append("head_size_v")
    if found:
        raise Unsupported(
            f"[vllm] layer {layer['prefix']} has {', '.join(found)}, wanted a layer without: skip_layers leaves it out"
        )
    from qjl.vllm.backend import backend_for

    return backend_for(cache_type)


def _window(layer: Mapping[str, Any]) -> bool:
    """A layer of its own window, or of the model's."""
    if layer["per_layer_sliding_window"] is not None:
        return True
    cache_config = layer["cache_config"]
    return cache_config is not None and cache_config.sliding_window is not None
