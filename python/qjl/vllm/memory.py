"""The caches of a worker. Layers of one shape are one PagedCache; vLLM owns the memory of pages, we that of open rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.models.utils import extract_layer_index

from qjl._core import PAGE_TOKENS
from qjl.paged import PagedCache
from qjl.rope import Rope, rope_of_layer
from qjl.vllm.check import options
from qjl.vllm.cpus import bound_cpus, threads_on
from qjl.vllm.impl import QJLImpl


@dataclass(frozen=True)
class OwnLayer:
    """A layer of ours: its number in the model, where it stands in which cache."""

    idx: int
    impl: QJLImpl
    cache: PagedCache
    number: int

    @property
    def exact(self) -> bool:
        return self.cache.cache_type(self.number).startswith("f16")


def own_layers(config: VllmConfig) -> dict[str, OwnLayer]:
    """Every layer of this worker that is ours, by name, in the order of the model."""
    found = get_layers_from_vllm_config(config, Attention)
    impls = {name: layer.impl for name, layer in found.items() if isinstance(layer.impl, QJLImpl)}
    by_kind: dict[tuple[int, int, str], list[str]] = defaultdict(list)
    ropes = {name: _rope(config, name, impl) for name, impl in impls.items()}
    for name, impl in impls.items():
        by_kind[impl.num_kv_heads, impl.head_size, ropes[name].pairs].append(name)
    layers: dict[str, OwnLayer] = {}
    for (kv_heads, head_dim, pairs), names in by_kind.items():
        places = [extract_layer_index(name) for name in names]
        with threads_on(bound_cpus()):
            cache = PagedCache(
                len(names),
                kv_heads,
                head_dim,
                **options(config).cache_arguments(places, kv_heads, head_dim),
                tail_dtype=tail_dtype(config),
                rope=[list(ropes[name].frequencies) for name in names],
                rope_pairs=pairs,
                threads=torch.get_num_threads(),
            )
        for number, (name, idx) in enumerate(zip(names, places, strict=True)):
            layers[name] = OwnLayer(idx, impls[name], cache, number)
    return {name: layers[name] for name in impls}


def _rope(config: VllmConfig, name: str, impl: QJLImpl) -> Rope:
    return rope_of_layer(config.model_config.hf_text_config, extract_layer_index(name), impl.head_size)


def tail_dtype(config: VllmConfig) -> torch.dtype:
    """Of exact rows: the model's 16 bits, half floats for a model in fp32."""
    return torch.bfloat16 if config.model_config.dtype == torch.bfloat16 else torch.float16


def tail_bytes(layers: dict[str, OwnLayer], slots: int) -> int:
    """Of open rows: 16-bit keys and values of 128 tokens for each slot and layer."""
    return slots * sum(layer.cache.tail_bytes for layer in layers.values())


def make_tails(layer: OwnLayer, slots: int, dtype: torch.dtype) -> torch.Tensor:
    """[slots, 2, kv_heads, 128, head_dim]. Zeros take no memory until rows come."""
    return torch.zeros(slots, 2, layer.impl.num_kv_heads, PAGE_TOKENS, layer.impl.head_size, dtype=dtype)
