"""`--kv-cache-dtype qjl_k3v2`, for versions of vLLM whose list of such types can be added to (0.33). In 0.32 the list is closed.

The name is another way to write the option `cache`. It becomes that option before vLLM looks at the config, which goes on with `auto`:
what is to be known of a type (a mode of quantisation, a back end that serves it) is then never asked of ours.
"""

from __future__ import annotations

from typing import Any

from qjl.errors import InvalidArgument
from qjl.vllm.options import KEY
from qjl.vllm.version import in_range

PREFIX = "qjl_"
CACHE_TYPES = ("f16", "k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "k5v4", "k5v5", "k6v5", "k6v6", "t2v2", "t3v2", "t3v3", "t4v4")
NAMES = tuple(PREFIX + name for name in CACHE_TYPES)
FIRST_WITH_NAMES = (0, 33)

_registered: set[str] = set()


def register_names(version: str) -> None:
    """Adds the names to vLLM's list, once in a process; where `version` has no open list, or is unknown, nothing."""
    if not in_range(version, FIRST_WITH_NAMES):
        return
    from vllm.config import cache

    register = getattr(cache, "register_kv_cache_dtype", None)
    if register is None:
        return
    for name in NAMES:
        if name not in _registered:
            register(name)(_handler(name))
            _registered.add(name)


def _handler(name: str) -> type:
    import torch
    from vllm.v1.kv_cache_interface import KVQuantMode

    def torch_dtype(self: Any) -> torch.dtype:
        return torch.uint8

    def quant_mode(self: Any) -> Any:
        return KVQuantMode.NONE  # of `auto`, which takes its place; CUSTOM is an alias of another back end's mode in 0.33

    return type(f"Dtype[{name}]", (), {"name": name, "torch_dtype": torch_dtype, "quant_mode": quant_mode})


def take_name(vllm_config: Any) -> None:
    """Makes a name of ours the option `cache`. Errors: InvalidArgument when the options say something else."""
    cache_config = vllm_config.cache_config
    if cache_config is None or not str(cache_config.cache_dtype).startswith(PREFIX):
        return
    name = cache_config.cache_dtype
    if name not in NAMES:
        raise InvalidArgument(f"[vllm] found --kv-cache-dtype {name}, wanted one of {', '.join(NAMES)}")
    more = vllm_config.additional_config
    given = more.get(KEY, {}) if isinstance(more, dict) else {}
    cache = name.removeprefix(PREFIX)
    if isinstance(given, dict):  # what is no object is refused with all options
        for option in ("cache", "plan"):
            if given.get(option, cache) != cache:
                raise InvalidArgument(
                    f"[vllm] found --kv-cache-dtype {name} beside option `{option}` {given[option]!r}, wanted one of them"
                )
        vllm_config.additional_config = {**(more if isinstance(more, dict) else {}), KEY: {**given, "cache": cache}}
    cache_config.cache_dtype = "auto"
