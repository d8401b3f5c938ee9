"""Reads the options of a config of vLLM and refuses what the plugin cannot serve, in the front end, before any worker starts."""

from __future__ import annotations

from typing import Any

import vllm
from vllm.platforms import current_platform

from qjl import PageCodec
from qjl._core import HEAD_DIMS, PAGE_TOKENS
from qjl.errors import InvalidArgument, Unsupported
from qjl.vllm.options import KEY, Options, inlined, options_of
from qjl.vllm.version import check_version

WORKER = "qjl.vllm.worker.QJLWorker"
SCHEDULER = "qjl.vllm.scheduler.QJLScheduler"


def asked_for(vllm_config: Any) -> bool:
    """Whether the config has our options: nothing else switches the plugin on."""
    return isinstance(vllm_config.additional_config, dict) and KEY in vllm_config.additional_config


def options(vllm_config: Any) -> Options:
    """Errors: InvalidArgument, BadFile, FileError."""
    return options_of(vllm_config.additional_config[KEY])


def layer_types(vllm_config: Any) -> list[str | None]:
    """The cache type of each layer of the model; None for one that is skipped. Errors: InvalidArgument."""
    return options(vllm_config).layer_types(vllm_config.model_config.hf_text_config.num_hidden_layers)


def check_config(vllm_config: Any) -> None:
    """Checks, and sets what follows: our worker. A plan's file is read here and stands in the config from now on, since a worker may
    run on another machine. Errors: InvalidArgument, Unsupported, BadFile, FileError, each of one line."""
    check_version(vllm.__version__)
    if not current_platform.is_cpu():
        raise Unsupported(f"[vllm] found the platform {current_platform.device_type}, wanted cpu")
    chosen = options(vllm_config)
    if vllm_config.model_config is None:
        return
    _check_engine(vllm_config)
    _check_model(vllm_config.model_config)
    head_dim = vllm_config.model_config.get_head_size()
    types = {name for name in layer_types(vllm_config) if name is not None}
    if not types:
        raise InvalidArgument("[vllm] option `skip_layers` leaves out all layers, wanted one to compress")
    for name in sorted(types):
        PageCodec(head_dim, name)  # refuses a cache type that it does not know
    if chosen.plan is not None:
        _check_plan(vllm_config, chosen)
        vllm_config.additional_config[KEY] = inlined(vllm_config.additional_config[KEY])
    _check_budget(vllm_config)
    parallel = vllm_config.parallel_config
    if parallel.worker_cls not in ("vllm.v1.worker.cpu_worker.CPUWorker", WORKER):
        raise InvalidArgument(f"[vllm] found --worker-cls {parallel.worker_cls} beside `{KEY}`, wanted none: it has its own")
    parallel.worker_cls = WORKER
    if vllm_config.scheduler_config.scheduler_cls not in (None, SCHEDULER):
        raise InvalidArgument(
            f"[vllm] found --scheduler-cls {vllm_config.scheduler_config.scheduler_cls} beside `{KEY}`, wanted none"
        )
    vllm_config.scheduler_config.scheduler_cls = SCHEDULER


def check_tails(tails: int, slots: int, given: int) -> None:
    """Errors: InvalidArgument when open pages leave nothing for sealed ones."""
    if tails >= given:
        raise InvalidArgument(
            f"[vllm] open pages of {slots} sequences take {tails:,} bytes, wanted less than the {given:,} of the cache: "
            "a smaller --max-num-seqs or a larger --kv-cache-memory-bytes"
        )


def _check_budget(config: Any) -> None:
    """As a worker does it, early: of windows, and of a pipeline's first and last stage, it knows nothing yet."""
    given, slots, model = config.cache_config.kv_cache_memory_bytes, config.scheduler_config.max_num_seqs, config.model_config
    kinds = getattr(model.hf_text_config, "layer_types", None)
    if given is None or (kinds and set(kinds) != {"full_attention"}):
        return
    layers = sum(name is not None for name in layer_types(config)) // config.parallel_config.pipeline_parallel_size
    row = 2 * model.get_num_kv_heads(config.parallel_config) * model.get_head_size() * 2
    check_tails(slots * PAGE_TOKENS * row * layers, slots, given)


def _check_engine(config: Any) -> None:
    cache, parallel = config.cache_config, config.parallel_config
    if cache.cache_dtype != "auto":
        raise InvalidArgument(f"[vllm] found --kv-cache-dtype {cache.cache_dtype} beside `{KEY}`, wanted auto")
    if cache.block_size % PAGE_TOKENS:
        raise InvalidArgument(f"[vllm] found --block-size {cache.block_size}, wanted a multiple of {PAGE_TOKENS}: whole pages")
    if config.speculative_config is not None:
        raise Unsupported("[vllm] found speculative decoding, wanted none: a rejected draft may have sealed a page")
    if config.use_v2_model_runner:
        raise Unsupported("[vllm] found model runner V2, wanted V1: VLLM_USE_V2_MODEL_RUNNER=0")
    if config.kv_transfer_config is not None:
        raise Unsupported("[vllm] found kv_transfer_config, wanted none: a connector takes the way by which errors are told")
    if cache.kv_offloading_size is not None:  # becomes a kv_transfer_config later
        raise Unsupported("[vllm] found --kv-offloading-size, wanted none: a connector takes the way by which errors are told")
    if parallel.distributed_executor_backend not in ("mp", "uni"):
        raise Unsupported(f"[vllm] found --distributed-executor-backend {parallel.distributed_executor_backend}, wanted mp")
    for name in ("decode_context_parallel_size", "prefill_context_parallel_size"):
        if getattr(parallel, name) != 1:
            raise Unsupported(
                f"[vllm] found {name} {getattr(parallel, name)}, wanted 1: ranks are merged by Triton, which processors lack"
            )


def _check_model(model: Any) -> None:
    text = model.hf_text_config
    name = text.model_type
    if model.runner_type != "generate":
        raise Unsupported(f"[vllm] found --runner {model.runner_type} for {name}, wanted generate: errors are told with tokens")
    if model.is_encoder_decoder:
        raise Unsupported(f"[vllm] {name} has an encoder, wanted a decoder alone")
    if model.use_mla:
        raise Unsupported(f"[vllm] {name} has multi-head latent attention, wanted plain heads")
    if model.is_hybrid:
        raise Unsupported(f"[vllm] {name} has states of linear layers beside its keys, wanted attention layers alone")
    if getattr(text, "alibi", False) or name in ("bloom", "mpt"):
        raise Unsupported(f"[vllm] {name} has alibi slopes, wanted none")
    if model.get_head_size() not in HEAD_DIMS:
        raise Unsupported(f"[vllm] {name} has head_dim {model.get_head_size()}, wanted one of {list(HEAD_DIMS)}")
    kinds = getattr(text, "layer_types", None)
    if kinds and "full_attention" not in kinds:
        raise Unsupported(f"[vllm] {name} has no full-attention layer, wanted one to compress: its layers are {sorted(set(kinds))}")


def _check_plan(config: Any, chosen: Options) -> None:
    model = config.model_config
    chosen.plan.check_shape(model.hf_text_config.num_hidden_layers, model.get_total_num_kv_heads(), model.get_head_size())
