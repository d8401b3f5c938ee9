"""Tables and pictures of `qjl study distortion`: errors of keys, values, scores and outputs against bits."""

from __future__ import annotations

import math
from pathlib import Path

from common import bold, figures, table
from plots import look
from plots.results import Row, is_ours

ERRORS = {"key_error": "keys", "score_error": "scores", "value_error": "values", "output_error": "outputs"}
SIDES = {"key_error": "key_bits", "score_error": "key_bits", "value_error": "value_bits", "output_error": "bits_sealed"}


class Source:
    """The rows of one model or fixture, all its texts together."""

    def __init__(self, rows: list[Row], name: str) -> None:
        self.name = name
        self.rows = [row for row in rows if row["source"] == name]
        self.bits = {row["cache"]: row for row in self.rows}
        self.caches = sorted(self.bits, key=lambda cache: (self.bits[cache]["bits_sealed"], cache))
        self.layers = sorted({row["layer"] for row in self.rows})
        self.has_queries = any(row["score_error"] > 0 for row in self.rows)
        self.errors = {e: word for e, word in ERRORS.items() if self.has_queries or e in ("key_error", "value_error")}

    def error(self, cache: str, field: str, layer: int | None = None) -> float:
        """Root mean square over layers and texts."""
        squares = [row[field] ** 2 for row in self.rows if row["cache"] == cache and layer in (None, row["layer"])]
        return math.sqrt(sum(squares) / len(squares))


def sources(rows: list[Row]) -> list[Source]:
    return [Source(rows, name) for name in dict.fromkeys(row["source"] for row in rows)]


def source_table(source: Source) -> str:
    lines = []
    for cache in source.caches:
        bits = source.bits[cache]
        line = [bold(f"`{cache}`", is_ours(cache)), f"{bits['key_bits']:.2f}", f"{bits['value_bits']:.2f}"]
        lines.append(line + [figures(source.error(cache, field)) for field in source.errors])
    return table(["cache", "key bits", "value bits", *source.errors.values()], lines)


def markdown(rows: list[Row]) -> str:
    parts = [
        "How far the numbers that a cache stands for are from the exact ones, root mean square over layers. Keys, values, outputs:",
        "relative errors. Scores: the standard deviation, over the tokens that one query sees, of the error of the score before the",
        "softmax, in nats. Queries are those of a text's last 32 tokens; scores and outputs are over the pages before the last.",
        "",
        "![errors against bits](distortion.svg)",
        "",
    ]
    for source in sources(rows):
        texts = [text for text in dict.fromkeys(row["text"] for row in source.rows) if text]
        what = (
            f"texts {', '.join(texts)}"
            if texts
            else "captured tensors, few tokens repeated to fill a page: a page mean gains more here than on a text"
        )
        parts += [f"{source.name}, {len(source.layers)} layers, {what}:", "", source_table(source)]
    return "\n".join(parts)


def draw(rows: list[Row], folder: Path) -> None:
    found = sources(rows)
    columns = max(len(source.errors) for source in found)
    figure, axes = look.start_picture(columns, len(found), width=3.6 * columns, height=3.4 * len(found))
    for line, source in zip(axes, found, strict=True):
        for axis, field in zip(line, source.errors, strict=False):
            draw_error(axis, source, field)
        for axis in line[len(source.errors) :]:
            axis.set_axis_off()
    look.save_picture(figure, folder / "distortion.svg")


def draw_error(axis, source: Source, field: str) -> None:
    for cache in source.caches:
        bits, error = source.bits[cache][SIDES[field]], source.error(cache, field)
        if bits >= 16 or error == 0:
            continue
        axis.plot(bits, error, look.marker(cache), ms=4, color=look.side_colour(cache))
        look.write_beside(axis, cache, bits, error, size=6)
    look.in_decades(axis)
    axis.set_xlabel("bits per number")
    axis.set_title(f"{source.name}: {ERRORS[field]}", fontsize=8)
