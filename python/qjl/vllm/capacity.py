"""How many tokens a cache of so many bytes holds, by vLLM's own planner, and blocks of layers that differ."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from vllm.config import VllmConfig
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_config_from_groups, get_kv_cache_groups
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheSpec

from qjl.vllm.blocks import rounded_up

Specs = dict[str, KVCacheSpec]


def tokens_held(config: VllmConfig, specs: Specs, available_bytes: int) -> int:
    """Of sequences as long as the model allows."""
    groups = get_kv_cache_groups(config, dict(specs))
    planned = get_kv_cache_config_from_groups(config, groups, available_bytes)
    return get_kv_cache_capacity(config, planned)[0]


def with_whole_pages(specs: Specs, ours: Collection[str]) -> Specs:
    """Where layers of another kind have larger blocks than ours, ours get the least C of which their block is a whole multiple. Full
    layers of vLLM's own share our block tables and no bytes with us, so that they may be of any size."""
    others = [spec.page_size_bytes for name, spec in specs.items() if name not in ours and not isinstance(spec, FullAttentionSpec)]
    largest = max(others, default=0)
    return {name: _rounded(spec, largest) if name in ours else spec for name, spec in specs.items()}


def _rounded(spec: FullAttentionSpec, largest: int) -> FullAttentionSpec:
    if spec.page_size_bytes >= largest:
        return spec
    state = rounded_up(spec.state_content_bytes, spec.num_kv_heads * spec.block_size, largest)
    return spec if state is None else replace(spec, state_content_bytes=state)


def stock_specs(specs: Specs, ours: Collection[str], dtype: torch.dtype) -> Specs:
    """What vLLM's own cache would be for the same layers."""
    return {name: replace(spec, dtype=dtype, state_content_bytes=None) if name in ours else spec for name, spec in specs.items()}
