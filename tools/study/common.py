"""What the reports of the studies share: rows, statistics over pages, markdown tables, pictures.

A mean over pages of 128 positions has the standard error sd / sqrt(pages): positions of one page err together. A ratio of two caches
is paired page by page: the geometric mean of the pages' ratios, with the 95 % interval of Student's t.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
# 97.5 % quantile of Student's t for 1, 2, 3 ... degrees of freedom; beyond the list 1.96 + 2.4 / n (within 1 %).
T_975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def read_rows(path: Path) -> list[Row]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row | {"cache": shown_name(row["cache"])} if "cache" in row else row for row in rows]


def shown_name(cache: str) -> str:
    """A plan's path by its budget: examples/plans/smollm2-135m-2.7.json is `plan 2.7`."""
    return "plan " + cache.removesuffix(".json").rsplit("-", 1)[-1] if cache.endswith(".json") else cache


def mean(numbers: Iterable[float]) -> float:
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def standard_error(numbers: Sequence[float]) -> float:
    if len(numbers) < 2:
        return math.nan
    middle = mean(numbers)
    return math.sqrt(sum((x - middle) ** 2 for x in numbers) / (len(numbers) - 1) / len(numbers))


def t_975(freedom: int) -> float:
    return T_975[freedom - 1] if freedom <= len(T_975) else 1.96 + 2.4 / freedom


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ours / theirs over pages, and its 95 % interval."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    middle, half = mean(logs), t_975(len(logs) - 1) * standard_error(logs)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score)."""
    z, share = 1.96, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return middle - half, middle + half


def figures(x: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent: 0.0146, 1.23, 94.4."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(x))))
    return f"{x:.{places}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Markdown; the first `left` columns are words, the others numbers."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] * left + ["--:"] * (len(head) - left)) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def is_ours(cache: str) -> bool:
    """k3v2, kl8vl4, k3v2:seed=7, a plan, and whatever a codec of ours is called later; `paper` is the published method."""
    return cache.startswith("plan ") or (cache[0] == "k" and not cache.startswith(("kivi", "kvquant")))


def bold(text: str, wanted: bool) -> str:
    return f"**{text}**" if wanted else text


def start_picture(columns: int = 1, rows: int = 1, width: float = 7.0, height: float = 4.5):
    """A figure and its axes. Files are the same for the same numbers: no dates, no random names."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "qjl", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")


def save_picture(figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
