"""Plans: the codes of every layer, chosen by ``qjl plan`` for a budget. One JSON object, whose keys engine/run/plan_file.cpp lists."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qjl._core import PLAN_CODES
from qjl.errors import BadFile, FileError, InvalidArgument

FORMAT, VERSION = "qjl plan", 1

PlanLike = str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a cache takes of a plan. ``layer_codes``: of keys and values, a pair for each layer."""

    name: str
    seed: int
    sinks: int
    num_kv_heads: int
    head_dim: int
    layer_codes: tuple[tuple[str, str], ...]

    def check_shape(self, num_layers: int, num_kv_heads: int, head_dim: int) -> None:
        """Errors: InvalidArgument when the plan is for a model of another shape."""
        found = (len(self.layer_codes), self.num_kv_heads, self.head_dim)
        wanted = (num_layers, num_kv_heads, head_dim)
        if found != wanted:
            raise InvalidArgument(f"[plan] {self.name} is for (layers, kv heads, head_dim) {found}, wanted {wanted}")


def read_plan(plan: PlanLike) -> Plan:
    """Reads a file, or takes the object that one holds. Errors: FileError, BadFile."""
    if isinstance(plan, Mapping):
        return _plan_of(plan, "the plan")
    name = f"`{os.fspath(plan)}`"
    try:
        text = Path(plan).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"[plan] found no file {name} that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"[plan] {name} is no plan: {error}") from error
    try:
        return _plan_of(json.loads(text), name)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadFile(f"[plan] {name} is no plan: {error}") from error


def _plan_of(found: Any, name: str) -> Plan:
    def field(container: Any, key: str, kind: type) -> Any:
        if not isinstance(container, Mapping) or key not in container:
            raise BadFile(f"[plan] {name} has no `{key}`, wanted one")
        value = container[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadFile(f"[plan] `{key}` of {name} is {value!r}, wanted a {kind.__name__}")
        return value

    def code(layer: Any, side: str) -> str:
        text: str = field(layer, side, str)
        if text not in PLAN_CODES:
            raise BadFile(f"[plan] found code `{text}`, wanted one of {', '.join(PLAN_CODES)}")
        return text

    if (field(found, "format", str), field(found, "version", int)) != (FORMAT, VERSION):
        raise BadFile(
            f"[plan] {name} has format {found['format']!r} version {found['version']}, wanted {FORMAT!r} version {VERSION}"
        )
    model = field(found, "model", Mapping)
    layers = tuple((code(layer, "keys"), code(layer, "values")) for layer in field(found, "layers", list))
    if len(layers) != field(model, "num_layers", int) or not layers:
        raise BadFile(f"[plan] {name} has {len(layers)} layers, wanted {model['num_layers']} and 1 at least")
    return Plan(
        name=name,
        seed=field(found, "seed", int),
        sinks=field(found, "sinks", int),
        num_kv_heads=field(model, "num_kv_heads", int),
        head_dim=field(model, "head_dim", int),
        layer_codes=layers,
    )
