"""What one step is for our layers: which tokens belong to which sequence, where its pages lie, and the slot of its open page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from vllm.config import VllmConfig
from vllm.v1.attention.backend import AttentionMetadata, AttentionMetadataBuilder, CommonAttentionMetadata
from vllm.v1.kv_cache_interface import AttentionSpec

from qjl._core import PAGE_TOKENS
from qjl.errors import Unsupported
from qjl.vllm.blocks import page_table
from qjl.vllm.check import options
from qjl.vllm.parts import Part, by_page, whole
from qjl.vllm.tails import Growth, TailPool


@dataclass
class QJLMetadata(AttentionMetadata):
    parts: list[Part]  # calls of each layer, in order
    failures: list[Exception]  # of this step, in any layer


class QJLMetadataBuilder(AttentionMetadataBuilder[QJLMetadata]):
    """Groups of layers that share blocks share a pool. The worker hands it over, and the list of what fails."""

    pool: TailPool
    failures: list[Exception]

    def __init__(self, kv_cache_spec: AttentionSpec, layer_names: list[str], vllm_config: VllmConfig, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self.pages_per_block = kv_cache_spec.block_size // PAGE_TOKENS
        self.parts_of = by_page if options(vllm_config).evaluate else whole

    def build(self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False) -> QJLMetadata:
        common = common_attn_metadata
        if common.causal is not True:
            raise Unsupported("[vllm] a step is not causal, wanted a decoder's own attention")
        count = common.num_reqs
        starts = common.query_start_loc_cpu[: count + 1].numpy()
        after = common.seq_lens[:count].numpy()
        before = after - np.diff(starts)
        pages = page_table(common.block_table_tensor[:count].numpy(), self.pages_per_block)
        rows = zip(pages, before.tolist(), after.tolist(), strict=True)
        slots = self.pool.step([Growth(row, held, grown) for row, held, grown in rows])
        return QJLMetadata(self.parts_of(pages, starts, before, np.array(slots)), self.failures)
