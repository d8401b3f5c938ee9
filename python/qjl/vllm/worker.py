"""QJLWorker: vLLM's worker for processors, which also keeps the open rows: their memory is taken out of the cache's, and their slots
are given back before a step when requests have ended, were aborted or preempted."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import torch
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.distributed import get_tp_group
from vllm.logger import init_logger
from vllm.model_executor.layers.attention import Attention
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheSpec
from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_worker import CPUWorker

from qjl.errors import InvalidArgument, Unsupported
from qjl.vllm.blocks import page_table, page_view
from qjl.vllm.capacity import stock_specs, tokens_held, with_whole_pages
from qjl.vllm.check import check_tails, options
from qjl.vllm.failures import failed_anywhere, written_blocks
from qjl.vllm.impl import Place
from qjl.vllm.memory import OwnLayer, make_tails, own_layers, tail_bytes, tail_dtype
from qjl.vllm.patches import choose_layers
from qjl.vllm.presence import announce, check_presence, common_store
from qjl.vllm.tails import Leavers, TailPool

log = init_logger("vllm.qjl")


class QJLWorker(CPUWorker):
    def __init__(self, vllm_config: VllmConfig, *args: Any, **kwargs: Any) -> None:
        choose_layers()  # before there is a model
        super().__init__(vllm_config, *args, **kwargs)
        self.own: dict[str, OwnLayer] = {}
        self.specs: dict[str, KVCacheSpec] = {}
        self.pools: dict[int, tuple[TailPool, int]] = {}  # of cache groups that have layers of ours, with their pages per block
        self.leavers = Leavers()
        self.failures: list[Exception] = []  # of the running step
        self.scheduled: dict[str, int] = {}  # tokens of each request in it
        self.block_sizes: list[int] = []  # of each cache group, in tokens

    def init_device(self) -> None:
        super().init_device()
        announce(common_store(), torch.distributed.get_rank())

    def load_model(self, **kwargs: Any) -> None:
        super().load_model(**kwargs)
        self.own = own_layers(self.vllm_config)
        if not self.own:
            raise Unsupported("[vllm] this worker has no full-attention layer, wanted one to compress")
        layers = len(get_layers_from_vllm_config(self.vllm_config, Attention))
        types = {layer.cache.cache_type(layer.number) for layer in self.own.values()}
        log.info("qjl: %d of %d layers compressed: %s", len(self.own), layers, ", ".join(sorted(types)))
        if options(self.vllm_config).evaluate:
            log.info("qjl: prompts attend through the compressed cache (evaluate)")
        else:
            log.info(
                "qjl: prompts of one step attend to their own exact rows: their log-likelihoods bypass the compression (see evaluate)"
            )

    def get_kv_cache_spec(self) -> dict[str, KVCacheSpec]:
        self.specs = with_whole_pages(super().get_kv_cache_spec(), self.own)
        return self.specs

    def determine_available_memory(self) -> int:
        check_presence(common_store(), torch.distributed.get_world_size())
        given = super().determine_available_memory()
        slots = self.vllm_config.scheduler_config.max_num_seqs
        tails = tail_bytes(self.own, slots)
        check_tails(tails, slots, given)
        left = given - tails
        dtype = self.model_config.dtype
        tokens = tokens_held(self.vllm_config, self.specs, left)
        stock = tokens_held(self.vllm_config, stock_specs(self.specs, self.own, dtype), given)
        log.info("qjl: %s bytes hold %s tokens, %s bytes of them open pages of %d sequences; %s tokens in %s",
                 f"{given:,}", f"{tokens:,}", f"{tails:,}", slots, f"{stock:,}", str(dtype).removeprefix("torch."))  # fmt: skip
        if tokens <= stock and any(not layer.exact for layer in self.own.values()):
            raise InvalidArgument(f"[vllm] nothing is won: {tokens:,} tokens in {given:,} bytes, {stock:,} in vLLM's own cache")
        return left

    def initialize_from_config(self, kv_cache_config: KVCacheConfig) -> None:
        super().initialize_from_config(kv_cache_config)
        self.block_sizes = [group.kv_cache_spec.block_size for group in kv_cache_config.kv_cache_groups]
        slots, dtype = self.vllm_config.scheduler_config.max_num_seqs, tail_dtype(self.vllm_config)
        context = self.vllm_config.compilation_config.static_forward_context
        for group, attention_groups in enumerate(self.model_runner.attn_groups):
            for attention_group in attention_groups:
                names = [name for name in attention_group.layer_names if name in self.own]
                if not names:
                    continue
                builder = attention_group.get_metadata_builder()
                pool, _ = self.pools.setdefault(group, (TailPool(slots), builder.pages_per_block))
                builder.pool, builder.failures = pool, self.failures
                for name in names:
                    layer = self.own[name]
                    pages = page_view(context[name].kv_cache, builder.pages_per_block)
                    layer.impl.place = Place(layer.cache, layer.number, pages, make_tails(layer, slots, dtype))

    def compile_or_warm_up_model(self) -> Any:
        done = super().compile_or_warm_up_model()
        self._make_room_for_stages()
        return done

    def _make_room_for_stages(self) -> None:
        """vLLM leaves this to a trial run, which processors skip: without it a second stage of a pipeline stops."""
        runner = self.model_runner
        if self.parallel_config.pipeline_parallel_size > 1 and runner.intermediate_tensors is None:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=self.model_config.dtype, device=self.device
            )

    def execute_model(self, scheduler_output: SchedulerOutput) -> Any:
        output = scheduler_output
        self.failures.clear()
        self.scheduled = dict(output.num_scheduled_tokens)
        gone = self.leavers.of_step(output.finished_req_ids, output.preempted_req_ids or (), self.scheduled)
        states = [state for request in gone if (state := self.model_runner.requests.get(request)) is not None]
        for group, (pool, pages_per_block) in self.pools.items():
            pool.begin()
            for state in states:
                pool.give_back(page_table(np.array([state.block_ids[group]], np.int32), pages_per_block)[0].tolist())
        return super().execute_model(scheduler_output)

    def sample_tokens(self, grammar_output: Any) -> Any:
        output = super().sample_tokens(grammar_output)
        if self.failures:
            log.error("qjl: a step failed, its %d requests end: %s", len(self.scheduled), self.failures[0])
        if self._step_failed() and isinstance(output, ModelRunnerOutput):
            output = copy(output)  # an earlier stage of a pipeline gives one that all its steps share
            output.kv_connector_output = KVConnectorOutput(failed_recving=set(self.scheduled), invalid_block_ids=self._written())
        return output

    def _step_failed(self) -> bool:
        """Here or in a worker of the same tensor group: all of them sample in every step. Of an earlier stage the numbers tell."""
        tensor = get_tp_group()
        return failed_anywhere(bool(self.failures), tensor.cpu_group) if tensor.world_size > 1 else bool(self.failures)

    def _written(self) -> set[int]:
        """Blocks of the running step, of every cache group: rows of a failed step are of no use to anyone."""
        found: set[int] = set()
        for request, tokens in self.scheduled.items():
            state = self.model_runner.requests[request]
            before = state.num_computed_tokens
            found |= written_blocks(state.block_ids, self.block_sizes, before, before + tokens)
        return found
