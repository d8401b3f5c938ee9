"""`--kv-cache-dtype qjl_k3v2`: which versions of vLLM get the names, and what becomes of one. A stand-in has vLLM's list; a real 0.33 for
processors does not exist yet."""

from __future__ import annotations

import enum
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from qjl.errors import InvalidArgument
from qjl.paged import PagedCache
from qjl.vllm import dtypes
from qjl.vllm.dtypes import CACHE_TYPES, NAMES, register_names, take_name


class KVQuantMode(enum.IntEnum):
    """As 0.33 has it: CUSTOM is an alias."""

    NONE = 0
    OCTAVE_K3V4 = 12
    CUSTOM = 12


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The handlers that a stand-in of vLLM 0.33 was given, by name."""
    pytest.importorskip("torch")
    found: dict[str, Any] = {}

    def register_kv_cache_dtype(name: str) -> Any:
        assert name not in found, "registered twice"
        return lambda handler: found.setdefault(name, handler())

    parts = {
        "vllm": {},
        "vllm.config": {},
        "vllm.config.cache": {"register_kv_cache_dtype": register_kv_cache_dtype},
        "vllm.v1": {},
        "vllm.v1.kv_cache_interface": {"KVQuantMode": KVQuantMode},
    }
    for name, members in parts.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            owner, _, last = name.rpartition(".")
            setattr(sys.modules[owner], last, module)
    monkeypatch.setattr(dtypes, "_registered", set())
    return found


def test_names_are_cache_types() -> None:
    assert dtypes.PREFIX + "k3v2" in NAMES
    for cache in CACHE_TYPES:
        assert PagedCache(1, 1, 64, cache, threads=1).cache_type().startswith(cache)


def test_an_open_list_gets_the_names_once(registered: dict[str, Any]) -> None:
    import torch

    register_names("0.33.0")
    register_names("0.33.0")
    assert tuple(registered) == NAMES
    for name, handler in registered.items():
        assert (handler.name, handler.torch_dtype()) == (name, torch.uint8)
        assert handler.quant_mode() is KVQuantMode.NONE


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", "0.34.0", "dev"])
def test_other_versions_get_none(registered: dict[str, Any], version: str) -> None:
    register_names(version)
    assert not registered


def test_a_list_that_cannot_be_added_to_stays(registered: dict[str, Any]) -> None:
    del sys.modules["vllm.config.cache"].register_kv_cache_dtype
    register_names("0.33.0")
    assert not registered


def config(dtype: str, more: Any) -> Any:
    return SimpleNamespace(cache_config=SimpleNamespace(cache_dtype=dtype), additional_config=more)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, {"qjl": {"cache": "k2v2"}}),
        (None, {"qjl": {"cache": "k2v2"}}),
        ({"other": 1}, {"other": 1, "qjl": {"cache": "k2v2"}}),
        ({"qjl": {"evaluate": True}}, {"qjl": {"evaluate": True, "cache": "k2v2"}}),
        ({"qjl": {"cache": "k2v2"}}, {"qjl": {"cache": "k2v2"}}),
    ],
)
def test_a_name_becomes_the_option(more: Any, wanted: dict[str, Any]) -> None:
    found = config("qjl_k2v2", more)
    take_name(found)
    assert (found.cache_config.cache_dtype, found.additional_config) == ("auto", wanted)


@pytest.mark.parametrize("dtype", ["auto", "fp8"])
def test_other_types_are_left_alone(dtype: str) -> None:
    found = config(dtype, {"other": 1})
    take_name(found)
    assert (found.cache_config.cache_dtype, found.additional_config) == (dtype, {"other": 1})


@pytest.mark.parametrize(
    ("dtype", "more", "text"),
    [
        (
            "qjl_k2v2",
            {"qjl": {"cache": "k3v2"}},
            "found --kv-cache-dtype qjl_k2v2 beside option `cache` 'k3v2', wanted one of them",
        ),
        ("qjl_k2v2", {"qjl": {"plan": "p.json"}}, "found --kv-cache-dtype qjl_k2v2 beside option `plan` 'p.json'"),
        ("qjl_k9v9", {}, "found --kv-cache-dtype qjl_k9v9, wanted one of qjl_f16, qjl_k2v2"),
    ],
)
def test_contradictions_are_named(dtype: str, more: Any, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        take_name(config(dtype, more))
