"""What the reports of the studies share: rows, ratios of two caches, markdown tables. Names, means and the look of pictures are those of
the Python package (python/qjl/plots), read from its place.

A ratio of two caches is paired page by page: the geometric mean of the pages' ratios, with the 95 % interval of Student's t.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "python/qjl"))

from plots.results import Row, mean, shown_name, standard_error

# 97.5 % quantile of Student's t for 1, 2, 3 ... degrees of freedom; beyond the list 1.96 + 2.4 / n (within 1 %).
T_975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def read_rows(path: Path) -> list[Row]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row | {"cache": shown_name(row["cache"])} if "cache" in row else row for row in rows]


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


def bold(text: str, wanted: bool) -> str:
    return f"**{text}**" if wanted else text
