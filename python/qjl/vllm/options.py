"""The options of the plugin, an object under "qjl" in vLLM's additional config:

    {"qjl": {"cache": "k3v2", "plan": "plan.json", "skip_layers": [0, 1], "evaluate": false}}

cache: a cache type of the program. Its sinks stand in every block, so that there is 1 unless the type says otherwise.
plan: the path of a file of `qjl plan`, or its object: codes of each layer, in place of `cache`.
skip_layers: layers that keep vLLM's own cache.
evaluate: prompt tokens too attend through the cache, so that log-likelihoods see the compression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from qjl.errors import InvalidArgument
from qjl.plan import FORMAT, VERSION, Plan, read_plan

KEY = "qjl"  # in the additional config
DEFAULT_TYPE = "k3v2"
SINKS = 1


@dataclass(frozen=True)
class Options:
    cache: str = DEFAULT_TYPE
    plan: Plan | None = None
    skip_layers: frozenset[int] = frozenset()
    evaluate: bool = False

    def layer_types(self, num_layers: int) -> list[str | None]:
        """The cache type of each layer, with its sinks; None for one that is skipped. Errors: InvalidArgument."""
        wrong = sorted(layer for layer in self.skip_layers if not 0 <= layer < num_layers)
        if wrong:
            raise InvalidArgument(f"[vllm] option `skip_layers` has {wrong}, wanted layers 0 to {num_layers - 1}")
        if self.plan is None:
            types = [with_sinks(self.cache)] * num_layers
        else:
            codes = self.plan.layer_codes
            if len(codes) != num_layers:
                raise InvalidArgument(f"[vllm] option `plan` has {len(codes)} layers, wanted {num_layers}: those of the model")
            types = [f"k{keys}v{values}:seed={self.plan.seed},sinks={SINKS}" for keys, values in codes]
        return [None if layer in self.skip_layers else name for layer, name in enumerate(types)]

    def cache_arguments(self, layers: Sequence[int], kv_heads: int, head_dim: int) -> dict[str, Any]:
        """What a PagedCache of these layers of the model takes of the options; kv_heads: of this worker."""
        if self.plan is None:
            return {"cache": with_sinks(self.cache)}
        rows = [{"keys": keys, "values": values} for keys, values in (self.plan.layer_codes[layer] for layer in layers)]
        shape = {"num_layers": len(rows), "num_kv_heads": kv_heads, "head_dim": head_dim}
        plan = {"format": FORMAT, "version": VERSION, "seed": self.plan.seed, "sinks": SINKS, "model": shape, "layers": rows}
        return {"plan": plan, "sinks": SINKS}


def with_sinks(cache: str) -> str:
    """A cache type that names its sinks: SINKS, or as it says; exact codes need none."""
    if re.search(r"[:,]sinks=", cache):
        return cache
    name, *rest = cache.split(":", 1)
    sinks = 0 if name in ("f16", "kf16vf16") else SINKS
    return f"{name}:{''.join(f'{words},' for words in rest)}sinks={sinks}"


def options_of(found: Any) -> Options:
    """Reads the object. Errors: InvalidArgument that names option, found and wanted; BadFile and FileError on a plan."""
    if not isinstance(found, Mapping):
        raise InvalidArgument(f"[vllm] `{KEY}` in the additional config is {found!r}, wanted an object of options")
    known = [field.name for field in fields(Options)]
    for name in found:
        if name not in known:
            raise InvalidArgument(f"[vllm] found option `{name}`, wanted one of {', '.join(known)}")
    cache = _checked(found, "cache", DEFAULT_TYPE, str, "a cache type")
    plan = found.get("plan")
    if plan is not None and not isinstance(plan, str | Mapping):
        raise InvalidArgument(f"[vllm] option `plan` is {plan!r}, wanted the path of a file of `qjl plan`, or its object")
    if cache.endswith(".json"):
        if plan is not None:
            raise InvalidArgument(f"[vllm] found option `plan` beside `cache` {cache!r}, wanted one of them")
        plan, cache = cache, DEFAULT_TYPE
    elif plan is not None and "cache" in found:
        raise InvalidArgument(f"[vllm] found option `plan` beside `cache` {cache!r}, wanted one of them")
    skipped = _checked(found, "skip_layers", [], list, "a list of layers")
    if any(type(layer) is not int for layer in skipped):
        raise InvalidArgument(f"[vllm] option `skip_layers` is {skipped!r}, wanted a list of layers")
    return Options(
        cache=cache,
        plan=None if plan is None else read_plan(plan),
        skip_layers=frozenset(skipped),
        evaluate=_checked(found, "evaluate", False, bool, "true or false"),
    )


def inlined(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same options with the plan's object in place of its path, as `options_of` has read it before."""
    cache, plan = found.get("cache", ""), found.get("plan")
    path = cache if cache.endswith(".json") else plan
    if not isinstance(path, str):
        return dict(found)
    return {**{name: value for name, value in found.items() if name != "cache"}, "plan": json.loads(Path(path).read_text("utf-8"))}


def _checked(found: Mapping[str, Any], name: str, default: Any, kind: type, wanted: str) -> Any:
    value = found.get(name, default)
    if type(value) is not kind:
        raise InvalidArgument(f"[vllm] option `{name}` is {value!r}, wanted {wanted}")
    return value
