"""QJLBackend: what vLLM asks of an attention backend. One class for each cache type, since vLLM asks the class for the bytes of a
layer and tells it no layer."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar

import torch
from vllm.v1.attention.backend import AttentionBackend, MultipleOf
from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend
from vllm.v1.kv_cache_interface import AttentionSpec, KVCacheLayout

from qjl._core import HEAD_DIMS, PAGE_TOKENS
from qjl.paged import PagedCache
from qjl.vllm.builder import QJLMetadataBuilder
from qjl.vllm.impl import QJLImpl
from qjl.vllm.options import DEFAULT_TYPE, with_sinks


@register_backend(AttentionBackendEnum.CUSTOM)
class QJLBackend(AttentionBackend):
    cache_type: ClassVar[str] = with_sinks(DEFAULT_TYPE)
    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float16, torch.bfloat16, torch.float32]
    supported_kv_cache_dtypes: ClassVar[list[str]] = ["auto"]
    forward_includes_kv_cache_update: bool = True  # one call of ours a layer: attend, then append

    @staticmethod
    def get_name() -> str:
        return AttentionBackendEnum.CUSTOM.name

    @staticmethod
    def get_impl_cls() -> type[QJLImpl]:
        return QJLImpl

    @staticmethod
    def get_builder_cls() -> type[QJLMetadataBuilder]:
        return QJLMetadataBuilder

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec: object = None) -> list[int | MultipleOf]:
        return [MultipleOf(PAGE_TOKENS)]

    @classmethod
    def get_supported_head_sizes(cls) -> list[int]:
        return list(HEAD_DIMS)

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        return (KVCacheLayout.LBHNC,)

    @classmethod
    def supports_sink(cls) -> bool:
        return True

    @classmethod
    def customize_spec(cls, spec: AttentionSpec) -> AttentionSpec:
        """Opaque bytes, as many as a page of one kv head takes."""
        if spec.state_content_bytes is not None:
            return spec
        return replace(spec, dtype=torch.uint8, state_content_bytes=_token_bytes(cls.cache_type, spec.head_size))


@functools.cache
def _token_bytes(cache_type: str, head_dim: int) -> int:
    return PagedCache(1, 1, head_dim, cache_type, threads=1).token_bytes(0)


@functools.cache
def backend_for(cache_type: str) -> type[QJLBackend]:
    return type(f"QJLBackend[{cache_type}]", (QJLBackend,), {"__module__": __name__, "cache_type": cache_type})
