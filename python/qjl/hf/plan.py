"""The part of a plan that belongs to some layers of a model: a QJLCache compresses its full-attention layers alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qjl import BadFile, InvalidArgument


def plan_of_layers(plan: Any, layers: list[int], num_layers: int) -> dict[str, Any]:
    """`plan` is the path of a file of `qjl plan`, or its object. A plan for as many layers as `layers` has is taken as it is; one for
    the whole model gives the rows of `layers`. Errors: BadFile; InvalidArgument when it fits neither."""
    whole = plan if isinstance(plan, Mapping) else _read(plan)
    rows, model = whole.get("layers"), whole.get("model")
    if not isinstance(rows, list) or not isinstance(model, Mapping):
        raise BadFile("[plan] found no `layers` and `model`, wanted an object of `qjl plan`")
    if len(rows) == num_layers:
        rows = [rows[i] for i in layers]
    elif len(rows) != len(layers):
        raise InvalidArgument(f"[plan] is for {len(rows)} layers, wanted {num_layers}, or the {len(layers)} that are compressed")
    return {**whole, "layers": rows, "model": {**model, "num_layers": len(rows)}}


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadFile(f"[plan] `{os.fspath(path)}` is no plan: {error}") from error
    if not isinstance(found, Mapping):
        raise BadFile(f"[plan] `{os.fspath(path)}` holds a {type(found).__name__}, wanted an object of `qjl plan`")
    return found
