"""Everything of vLLM that is wrapped from outside, in one place. Written for the versions of version.py; each wrap is made once, says
what it needs of vLLM, and stands aside where a config does not ask for qjl.

    CpuPlatform.check_and_update_config    every config passes here, in the front end first: options are read and checked
    Attention.__init__                     a layer that is ours is given our backend; vLLM's own selection ignores the option on CPUs
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qjl.errors import InvalidArgument, QjlError, Unsupported
from qjl.vllm.dtypes import take_name

_MARK = "_qjl_wrapped"


def watch_configs() -> None:
    """Wraps the platform's check of configs; the other wraps wait until a config asks."""
    from vllm.platforms import current_platform

    platform = current_platform if isinstance(current_platform, type) else type(current_platform)
    stock = _stock(platform, "check_and_update_config")
    if stock is None:
        return

    @functools.wraps(stock)
    def check_and_update_config(cls: type, vllm_config: Any) -> None:
        with one_line_errors():
            take_name(vllm_config)
        stock(vllm_config)
        from qjl.vllm.check import asked_for

        if asked_for(vllm_config):
            _enable(vllm_config)

    _replace(platform, "check_and_update_config", classmethod(check_and_update_config))


def _enable(vllm_config: Any) -> None:
    from qjl.vllm.check import check_config

    with one_line_errors():
        check_config(vllm_config)
    choose_layers()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """InvalidArgument is a ValueError, which pydantic would wrap into lines of its own."""
    try:
        yield
    except InvalidArgument as error:
        raise QjlError(str(error)) from None


def choose_layers() -> None:
    """Gives our layers our backend. In a worker it must stand before the model is built."""
    from vllm.model_executor.layers.attention.attention import Attention

    stock = _stock(Attention, "__init__")
    if stock is None:
        return
    signature = inspect.signature(stock)
    wanted = {"prefix", "attn_backend", "attn_type", "per_layer_sliding_window", "cache_config", "kv_sharing_target_layer_name"}
    missing = sorted(wanted - set(signature.parameters))
    if missing:
        raise Unsupported(f"[vllm] Attention of this vLLM takes no {', '.join(missing)}, wanted them")

    @functools.wraps(stock)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        from qjl.vllm.choice import backend_of

        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        if bound.arguments["attn_backend"] is None:
            bound.arguments["attn_backend"] = backend_of(bound.arguments)
        stock(*bound.args, **bound.kwargs)

    _replace(Attention, "__init__", __init__)


def _stock(owner: type, name: str) -> Callable[..., Any] | None:
    """What is to be wrapped; None when it is wrapped already."""
    found = getattr(owner, name, None)
    if found is None:
        raise Unsupported(f"[vllm] {owner.__name__} of this vLLM has no {name}, wanted one")
    return None if getattr(found, _MARK, False) else found


def _replace(owner: type, name: str, wrapper: Any) -> None:
    setattr(getattr(wrapper, "__func__", wrapper), _MARK, True)
    setattr(owner, name, wrapper)
