"""A model with windows: its full layers are ours, and their longer blocks hold more tokens in the same bytes."""

from __future__ import annotations

import re

from asking import GEMMA, ask


def test_exact_pages_write_the_same_text() -> None:
    wanted, found = ask("gemma:by_transformers").found["tokens"], ask("gemma:exact").found
    assert found["tokens"] == wanted and found["again"] == wanted


def test_the_log_names_layers_and_both_capacities() -> None:
    log = ask("gemma:exact").log
    assert "qjl: 3 of 18 layers compressed: f16" in log
    assert re.search(
        r"qjl: 268,435,456 bytes hold [\d,]+ tokens, [\d,]+ bytes of them open pages of 4 sequences; [\d,]+ tokens in float32", log
    )


def test_packed_blocks_hold_more_tokens() -> None:
    """By vLLM's planner, without an engine: three full layers among fifteen windows."""
    import torch
    from qjl.vllm.backend import backend_for
    from qjl.vllm.capacity import stock_specs, tokens_held, with_whole_pages
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

    shape = {"block_size": 128, "num_kv_heads": 1, "head_size": 256, "dtype": torch.float32}
    names = [f"model.layers.{layer}.self_attn.attn" for layer in range(18)]
    ours = names[5::6]
    packed = backend_for("k3v2:sinks=1").customize_spec(FullAttentionSpec(**shape))
    specs = {name: packed if name in ours else SlidingWindowSpec(**shape, sliding_window=512) for name in names}
    options = {
        "dtype": "float32",
        "max_model_len": 2048,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 256,
        "kv_cache_memory_bytes": 256 << 20,
    }
    config = EngineArgs(model=str(GEMMA), additional_config={"qjl": {"cache": "k3v2"}}, **options).create_engine_config()
    config.cache_config.kv_cache_layout = "LBHNC"  # the backend's, which an engine finds out
    planned = with_whole_pages(specs, ours)
    assert specs[names[0]].page_size_bytes == 8 * planned[ours[0]].page_size_bytes
    held, own = (tokens_held(config, each, 256 << 20) for each in (planned, stock_specs(planned, ours, torch.float32)))
    assert held >= 1.2 * own
