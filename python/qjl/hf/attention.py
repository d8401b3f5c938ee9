"""The attention implementation "qjl" of Transformers: its attention function, its mask function, and how a model is switched to it.

A layer of a QJLCache hands over handles (or, in a graph, its raw chunk) and is attended to by the kernel; the tensors of every other
layer by torch. A mask of tokens stays two-dimensional for full causal layers, as for flash attention; other patterns are written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import causal_mask_function, flash_attention_mask, sdpa_mask

from qjl import InvalidArgument, Unsupported
from qjl.hf import step
from qjl.hf.config import check_config
from qjl.hf.exact import exact_attention
from qjl.hf.handles import KVHandle
from qjl.hf.layer import QJLLayer, Softmax

NAME = "qjl"
is_compiling = torch.compiler.is_compiling


def qjl_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What Transformers calls for every layer. query [batch, query_heads, tokens, head_dim]; returns [batch, tokens, query_heads,
    head_dim] and no weights. Errors: Unsupported for dropout, weights, position biases, layers that are not causal."""
    asked = kwargs.get
    is_causal = asked("is_causal")
    if (
        dropout
        or asked("output_attentions")
        or asked("position_bias") is not None
        or not (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    ):
        _refuse(module, dropout, kwargs)
    soft_cap, window, sinks = asked("softcap"), asked("sliding_window"), asked("s_aux")
    if is_compiling():
        layer, step.traced.layer = step.traced.layer, None
        if layer is not None:
            numbers = (layer.layer_idx, scaling or 0.0, soft_cap or 0.0, window or 0)
            return torch.ops.qjl.step(layer.session.state, query, key, value, *numbers, attention_mask, sinks), None
    elif isinstance(key, KVHandle):
        layer = _own_layer(key, value)
        return layer.attend(query, attention_mask, Softmax(scaling or 0.0, soft_cap or 0.0, window or 0, sinks)), None
    out = exact_attention(module, query, key, value, attention_mask, scale=scaling, soft_cap=soft_cap, window=window, sinks=sinks)
    return out, None


def _own_layer(key: KVHandle, value: torch.Tensor) -> QJLLayer:
    """The layer of a pair of handles, which must be the last that it gave: the chunk that will be stored is theirs."""
    reading = key.reading
    layer = reading.layer
    if not isinstance(value, KVHandle) or value.reading is not reading:
        raise InvalidArgument("[attend] values are not those of the same update as the keys, wanted both handles of one update")
    if reading.epoch != layer.epoch or reading.columns != layer.length:
        raise Unsupported(
            f"[attend] the handle has {reading.columns} columns, wanted the last one of layer {layer.layer_idx}: {layer.length}"
        )
    return layer


def _refuse(module: torch.nn.Module, dropout: float, kwargs: dict[str, Any]) -> NoReturn:
    if dropout:
        raise Unsupported(f"[attend] attention dropout is {dropout}, wanted 0: call model.eval()")
    for name, is_asked in (
        ("position_bias", kwargs.get("position_bias") is not None),
        ("output_attentions", kwargs.get("output_attentions")),
    ):
        if is_asked:
            raise Unsupported(f"[attend] {name} is not supported by attention implementation {NAME!r}, wanted none")
    raise Unsupported(f"[attend] {type(module).__name__} is not causal, wanted a decoder's own attention: encoders have no cache")


def qjl_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: Any = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor | None:
    """The 2-D mask of full causal layers, None when it hides nothing; the written-out mask of any other pattern."""
    lengths = {"batch_size": batch_size, "q_length": q_length, "kv_length": kv_length, "q_offset": q_offset, "kv_offset": kv_offset}
    if mask_function is not causal_mask_function:
        return sdpa_mask(**lengths, mask_function=mask_function, attention_mask=attention_mask, **kwargs)
    if isinstance(q_offset, torch.Tensor) or kv_length != q_offset + q_length - kv_offset:
        raise Unsupported(
            f"[mask] attention implementation {NAME!r} meets a cache of a fixed size, wanted QJLCache or DynamicCache"
        )
    if attention_mask is not None and torch.compiler.is_compiling():  # what it hides is not known while a graph is made
        return attention_mask[:, -kv_length:]
    return flash_attention_mask(**lengths, mask_function=mask_function, attention_mask=attention_mask, **kwargs)


AttentionInterface.register(NAME, qjl_attention)
AttentionMaskInterface.register(NAME, qjl_mask)


def enable(model: PreTrainedModel) -> None:
    """Switches a model to attention implementation "qjl", for good. Without a QJLCache it computes what "sdpa" does.
    Errors: Unsupported, by name, for models whose attention cannot be replaced, encoders and MLA; the model stays as it was."""
    check_config(model.config)
    before = implementations(model.config)
    model.set_attn_implementation(NAME)
    text = model.config.get_text_config(decoder=True)
    if text._attn_implementation != NAME:
        model.set_attn_implementation(before)
        raise Unsupported(f"[enable] {type(model).__name__} has attention of its own, wanted a model that uses AttentionInterface")


@contextmanager
def enabled(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """`with enabled(model):` switches a model to attention implementation "qjl" and restores what it had."""
    before = implementations(model.config)
    enable(model)
    try:
        yield model
    finally:
        model.set_attn_implementation(before)


def implementations(config: Any) -> Any:
    """The attention implementation of a config and its parts, in the form that set_attn_implementation takes."""
    parts = {name: implementations(part) for name in config.sub_configs if (part := getattr(config, name, None)) is not None}
    return {"": config._attn_implementation, **parts} if parts else config._attn_implementation
