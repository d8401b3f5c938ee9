"""Rows of results as pictures and tables read them: a dict for each case; names of caches, choices of rows, statistics over pages.

A mean over pages of 128 positions has the standard error sd / sqrt(pages): positions of one page err together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

NAMES = {"exact_pairs": "exact, paired", "exact_rows": "exact, rows", "kivi": "KIVI-like (ours)", "paper": "paper's sketch"}


def name(cache: str) -> str:
    """What a benchmark calls a cache, in words."""
    return NAMES.get(cache, cache)


def shown_name(cache: str) -> str:
    """A plan's path by its budget: examples/plans/smollm2-135m-2.7.json is `plan 2.7`."""
    return "plan " + cache.removesuffix(".json").rsplit("-", 1)[-1] if cache.endswith(".json") else cache


def is_ours(cache: str) -> bool:
    """k3v2, kl8vl4, k3v2:seed=7, a plan, and whatever a codec of ours is called later; `paper` is the published method."""
    trellis = re.fullmatch(r"t\d+v\d+(:.*)?", cache) is not None  # `tq3` is a rival
    return cache.startswith("plan ") or trellis or (cache[:1] == "k" and not cache.startswith(("kivi", "kvarn", "kvquant")))


def short(tokens: int) -> str:
    """4096 is 4k."""
    if tokens >= 1 << 20:
        return f"{tokens >> 20}M"
    return f"{tokens >> 10}k" if tokens >= 1024 else str(tokens)


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows whose fields are as wanted."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def one(rows: Iterable[Row], **wanted: object) -> Row | None:
    found = select(rows, **wanted)
    return found[0] if found else None


def unique(rows: Iterable[Row], key: str) -> list[Any]:
    """The values of a field, each once, in the order of the rows."""
    return list(dict.fromkeys(row[key] for row in rows))


def mean(numbers: Iterable[float]) -> float:
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def standard_error(numbers: Sequence[float]) -> float:
    if len(numbers) < 2:
        return math.nan
    middle = mean(numbers)
    return math.sqrt(sum((x - middle) ** 2 for x in numbers) / (len(numbers) - 1) / len(numbers))
