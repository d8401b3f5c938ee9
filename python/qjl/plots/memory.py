"""What a cache takes in memory: a panel for each number of tokens, a bar for each cache type with its size beside the exact cache's.

Rows are those of `qjl study rate`, the results of `qjl eval --json`, or the memory rows of `./dev bench-peers engine`. What a 16-bit
cache of as many tokens takes is 16 / bits of what a cache of so many bits a number takes; of the bench it is llama.cpp's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import look
from .results import Row, select, short

FIELDS = {"cache": str, "context": int, "text": str, "bits": float, "cache_mb": float}
BENCH_FIELDS = {"name": str, "tokens": int, "added_bytes": float}
WANTED = "the JSON of `qjl eval`, rows of `qjl study rate`, or memory rows of `./dev bench-peers engine`"
EXACT_BITS = 16
EXACT_PEER = "llama.cpp f16"


@dataclass(frozen=True)
class Size:
    cache: str
    tokens: int
    megabytes: float
    exact_megabytes: float | None

    def words(self) -> str:
        return f"{self.megabytes:.1f}" + (f", {self.exact_megabytes / self.megabytes:.1f}x" if self.exact_megabytes else "")


def sizes(rows: list[Row]) -> list[Size]:
    """One for each cache and number of tokens; of several texts the largest, since one may be shorter than the context."""
    measured = select(rows, kind="memory")
    exact = {row["tokens"]: row["added_bytes"] / 1e6 for row in measured if row["name"] == EXACT_PEER}
    found = {}
    for row in sorted((row for row in rows if row not in measured), key=lambda row: row["cache_mb"]):
        taken = row["cache_mb"]
        found[row["cache"], row["context"]] = Size(row["cache"], row["context"], taken, taken * EXACT_BITS / row["bits"])
    for row in measured:
        taken = row.get("reported_bytes", row["added_bytes"]) / 1e6
        found[row["name"], row["tokens"]] = Size(row["name"], row["tokens"], taken, exact.get(row["tokens"]))
    return list(found.values())


def draw(rows: list[Row]) -> Any:
    found = sizes(rows)
    panels = sorted({size.tokens for size in found})
    if not panels:
        return None
    tallest = max(sum(size.tokens == tokens for size in found) for tokens in panels)
    figure, axes = look.start_picture(columns=len(panels), width=4.6 * len(panels), height=1.2 + 0.22 * tallest)
    for axis, tokens in zip(axes[0], panels, strict=True):
        bars = sorted((size for size in found if size.tokens == tokens), key=lambda size: (-size.megabytes, size.cache))
        look.long_bars(axis, {bar.cache: bar.megabytes for bar in bars}, words={bar.cache: bar.words() for bar in bars})
        axis.set_xlabel("MB, and how many times smaller than 16 bits a number")
        axis.set_title(f"{short(tokens)} tokens")
    return figure


DRAWINGS = (({"eval": FIELDS, "rate": FIELDS, "memory": BENCH_FIELDS}, draw),)
