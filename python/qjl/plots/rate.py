"""Bits against KL divergence: a panel for each context length, a point for each cache type with its standard error over pages.

Rows are those of `qjl study rate`, or the results of `qjl eval --json` with their context and a name of the text.
"""

from __future__ import annotations

from typing import Any

from . import look
from .results import Row, is_ours, mean, short, standard_error

FIELDS = {"cache": str, "context": int, "text": str, "bits_sealed": float, "kld_by_page": list}
WANTED = "the JSON of `qjl eval` or rows of `qjl study rate`"


class Rates:
    """The rows by (cache, context, text); caches in order of their bits. The exact cache, which has no divergence, is left out."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = {(row["cache"], row["context"], row["text"]): row for row in rows if row["cache"] != "f16"}
        self.bits = {row["cache"]: row["bits_sealed"] for row in rows if row["cache"] != "f16"}
        self.caches = sorted(self.bits, key=lambda cache: (self.bits[cache], cache))
        self.contexts = sorted({context for _, context, _ in self.rows})
        self.texts = list(dict.fromkeys(text for _, _, text in self.rows))

    def of(self, cache: str, context: int) -> list[Row]:
        found = (self.rows.get((cache, context, text)) for text in self.texts)
        return [row for row in found if row]

    def pages(self, cache: str, context: int, text: str | None = None) -> list[float]:
        """Divergences, a number for each page of 128 positions that was scored."""
        return [x for row in self.of(cache, context) if text in (None, row["text"]) for x in row["kld_by_page"]]


def draw(rows: list[Row]) -> Any:
    rates = Rates(rows)
    if not rates.contexts:
        return None
    figure, axes = look.start_picture(columns=len(rates.contexts), width=4.6 * len(rates.contexts), height=4.8)
    for axis, context in zip(axes[0], rates.contexts, strict=True):
        _draw_context(axis, rates, context)
    axes[0][0].set_ylabel("mean KL divergence to the exact cache (nats)")
    return figure


def _draw_context(axis: Any, rates: Rates, context: int) -> None:
    scored = [(cache, rates.bits[cache], rates.pages(cache, context)) for cache in rates.caches]
    points = [(cache, bits, mean(pages), standard_error(pages)) for cache, bits, pages in scored if pages]
    ours = [point for point in points if is_ours(point[0])]
    axis.plot([p[1] for p in ours], [p[2] for p in ours], color=look.OURS, lw=1.2, zorder=2)
    for cache, bits, kld, error in points:
        style = {"fmt": look.marker(cache), "color": look.side_colour(cache)}
        axis.errorbar(bits, kld, yerr=error, ms=4, elinewidth=0.8, zorder=3, **style)
        look.write_beside(axis, cache, bits, kld)
    look.in_decades(axis)
    axis.set_xlabel("bits per number, sealed")
    axis.set_title(f"{short(context)} tokens")


DRAWINGS = (({"eval": FIELDS, "rate": FIELDS}, draw),)
