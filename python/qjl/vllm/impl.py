"""QJLImpl: one layer of ours. What it works on, the worker binds to it once memory is there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from vllm.config import get_current_vllm_config
from vllm.v1.attention.backend import AttentionImpl, AttentionType

from qjl.errors import QjlError, Unsupported
from qjl.paged import PagedCache
from qjl.vllm.builder import QJLMetadata
from qjl.vllm.parts import Part


@dataclass(frozen=True)
class Place:
    """A layer's part of a PagedCache: the cache, its number there, its memory of pages and of open rows."""

    cache: PagedCache
    number: int
    pages: torch.Tensor  # [pages, kv_heads, 128, C] uint8
    tails: torch.Tensor  # [slots, 2, kv_heads, 128, head_dim]


class QJLImpl(AttentionImpl[QJLMetadata]):
    place: Place

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int | None = None,
        alibi_slopes: list[float] | None = None,
        sliding_window: int | None = None,
        kv_cache_dtype: str = "auto",
        logits_soft_cap: float | None = None,
        attn_type: str = AttentionType.DECODER,
        kv_sharing_target_layer_name: str | None = None,
        sinks: torch.Tensor | None = None,
        **extra: Any,
    ) -> None:
        if extra:
            raise Unsupported(f"[vllm] a layer asks for {', '.join(extra)}, wanted a layer without: skip_layers leaves it out")
        self.num_heads, self.head_size, self.scale = num_heads, head_size, float(scale)
        self.num_kv_heads = num_kv_heads or num_heads
        self.sliding_window, self.kv_cache_dtype = sliding_window, kv_cache_dtype
        self.soft_cap = logits_soft_cap or 0.0
        self.sinks = sinks
        # What a step goes on with after an error. Another worker, which has seen none, learns of it by the numbers that reach it.
        self.after_failure = math.nan if get_current_vllm_config().parallel_config.world_size > 1 else 0.0

    def forward(
        self,
        layer: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: QJLMetadata | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """query [tokens, heads, head_dim], key and value [tokens, kv_heads, head_dim], tokens of all sequences in a row, padding after
        them. Attends and stores, in one call; in an evaluation in one a page (parts.py). An error is kept for the worker, which ends the
        step's requests: raised here it would end the engine."""
        if attn_metadata is None:  # a trial run of the model, without a cache
            return output.zero_()
        if attn_metadata.failures:
            return output.fill_(self.after_failure)
        try:
            for part in attn_metadata.parts:
                if part.rows is None:
                    found = self._attend(part, query, key, value)
                    output[: len(found)].copy_(found)
                else:
                    rows = torch.from_numpy(part.rows)
                    output[rows] = self._attend(part, query[rows], key[rows], value[rows]).to(output.dtype)
        except QjlError as error:
            attn_metadata.failures.append(error)
            return output.fill_(self.after_failure)
        return output

    def _attend(self, part: Part, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        place = self.place
        found = place.cache.step(
            place.number, place.pages, place.tails, part.batch, query, key, value,
            scale=self.scale, soft_cap=self.soft_cap, lse=self.sinks is not None,
        )  # fmt: skip
        if self.sinks is None:
            return found
        out, lse = found  # exp(lse) / (exp(lse) + exp(sink)) of the sum is left to the tokens
        return out * torch.sigmoid(lse - self.sinks.float())[..., None]
