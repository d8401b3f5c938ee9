"""Wrong options stop the start in the front end, in one line that names option, found and wanted. No engine is started."""

from __future__ import annotations

from typing import Any

import pytest
import scenarios_tiny
from qjl.errors import QjlError, Unsupported


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    scenarios_tiny.tiny_llama(folder)
    return str(folder)


def config(model: str, **more: Any) -> Any:
    from vllm.engine.arg_utils import EngineArgs

    given = {"additional_config": {"qjl": {}}, "kv_cache_memory_bytes": 64 << 20, "max_num_seqs": 8, **more}
    return EngineArgs(model=model, skip_tokenizer_init=True, dtype="float32", enforce_eager=True, **given).create_engine_config()


def test_the_worker_is_ours_when_asked_for(model: str) -> None:
    assert config(model).parallel_config.worker_cls == "qjl.vllm.worker.QJLWorker"
    assert config(model, additional_config={}).parallel_config.worker_cls == "vllm.v1.worker.cpu_worker.CPUWorker"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"additional_config": {"qjl": {"codes": "k3v2"}}},
            "found option `codes`, wanted one of cache, plan, skip_layers, evaluate",
        ),
        ({"additional_config": {"qjl": "k3v2"}}, "wanted an object of options"),
        ({"additional_config": {"qjl": {"cache": "k9v9"}}}, "k9v9"),
        ({"additional_config": {"qjl": {"skip_layers": [4]}}}, r"`skip_layers` has \[4\], wanted layers 0 to 3"),
        ({"additional_config": {"qjl": {"skip_layers": [0, 1, 2, 3]}}}, "leaves out all layers"),
        ({"block_size": 64}, "found --block-size 64, wanted a multiple of 128"),
        ({"kv_cache_dtype": "fp8"}, "found --kv-cache-dtype fp8.* beside `qjl`, wanted auto"),
        ({"max_num_seqs": 256}, r"open pages of 256 sequences take 67,108,864 bytes, wanted less than the 67,108,864"),
        ({"worker_cls": "some.Worker"}, "found --worker-cls some.Worker"),
    ],
)
def test_wrong_options(model: str, more: dict[str, Any], text: str) -> None:
    with pytest.raises(QjlError, match=text) as raised:
        config(model, **more)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"kv_transfer_config": {"kv_connector": "ExampleConnector", "kv_role": "kv_both"}},
            "found kv_transfer_config, wanted none",
        ),
        ({"kv_offloading_size": 1}, "found --kv-offloading-size, wanted none"),
        (
            {"tensor_parallel_size": 4, "decode_context_parallel_size": 2},
            "found decode_context_parallel_size 2, wanted 1: ranks are merged by Triton",
        ),
        ({"runner": "pooling"}, "found --runner pooling for llama, wanted generate"),
        (
            {"distributed_executor_backend": "external_launcher"},
            "found --distributed-executor-backend external_launcher, wanted mp",
        ),
    ],
)
def test_ways_that_are_not_ours_are_refused(model: str, more: dict[str, Any], text: str) -> None:
    with pytest.raises(Unsupported, match=text):
        config(model, **more)


def test_speculative_decoding_is_refused(model: str) -> None:
    with pytest.raises(Unsupported, match="a rejected draft may have sealed a page"):
        config(model, speculative_config={"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3})


def test_another_version_is_refused(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import vllm

    monkeypatch.setattr(vllm, "__version__", "0.31.0")
    with pytest.raises(Unsupported, match=r"found vLLM 0\.31\.0, wanted >=0\.32,<0\.34"):
        config(model)
    config(model, additional_config={})


def test_registering_twice_wraps_once() -> None:
    import qjl.vllm
    from vllm.platforms import current_platform

    qjl.vllm.register()
    wrapped = current_platform.check_and_update_config.__func__
    qjl.vllm.register()
    assert current_platform.check_and_update_config.__func__ is wrapped
