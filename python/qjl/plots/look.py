"""How every picture looks: its figure, its colours, its axes, its file. The same numbers give the same file: no dates, no random
names. Words stay words in an SVG, so that they can be searched and read aloud.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .results import is_ours, name, short

OURS, OTHERS = "tab:red", "0.35"

# Caches that stand side by side as lines or bars.
COLOURS = {
    "exact": "#555555",
    "exact_pairs": "#555555",
    "exact_rows": "#aaaaaa",
    "f16": "#8c564b",
    "k2v2": "#d62728",
    "k3v2": "#1f77b4",
    "k3v3": "#17becf",
    "k4v4": "#2ca02c",
    "paper": "#ff7f0e",
    "kivi": "#9467bd",
    "ggml q4_0": "#c49c94",
    "ggml q8_0": "#e7ba52",
    "ggml f16": "#bd9e39",
}

FORMS = {".svg": {"metadata": {"Date": None}}, ".pdf": {"metadata": {"CreationDate": None}}, ".png": {"dpi": 120}}  # by ending


def start_picture(columns: int = 1, rows: int = 1, width: float = 7.0, height: float = 4.5) -> tuple[Any, Any]:
    """A figure of width x height inches and its axes, [rows][columns]."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "qjl", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")


def save_picture(figure: Any, path: Path) -> None:
    """The ending says in which form: .svg, .png or .pdf. The figure is closed."""
    from matplotlib import pyplot

    figure.savefig(path, **FORMS[path.suffix])
    pyplot.close(figure)


def colour(cache: str) -> str | None:
    """Of a cache among others as line or bar; None: the next of matplotlib's."""
    return COLOURS.get(cache)


def side_colour(cache: str) -> str:
    """Ours red, all others grey."""
    return OURS if is_ours(cache) else OTHERS


def marker(cache: str) -> str:
    return "o" if is_ours(cache) else "s"


def write_beside(axis: Any, text: str, x: float, y: float, size: float = 7) -> None:
    """The name of a cache at its point."""
    axis.annotate(text, (x, y), (3, 3), textcoords="offset points", fontsize=size, color=side_colour(text))


def grid(axis: Any, decades: bool = False) -> None:
    axis.grid(alpha=0.25, which="both" if decades else "major", lw=0.5)


def in_decades(axis: Any) -> None:
    """The vertical axis is an error, in powers of ten."""
    axis.set_yscale("log")
    grid(axis, decades=True)


def by_context(axis: Any, lengths: list[int]) -> None:
    """The horizontal axis is the context, in doublings."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(lengths, [short(length) for length in lengths])
    axis.set_xlabel("context, tokens")
    grid(axis)


def legend(axis: Any) -> None:
    """Where it hides least."""
    axis.legend(frameon=False, fontsize=7)


def legend_beside(axis: Any) -> None:
    """For bars, which leave no room."""
    axis.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def bars(axis: Any, heights: dict[str, list[float]], labels: list[str]) -> None:
    """At every label a bar for each name, side by side."""
    step = 0.8 / len(heights)
    for i, (cache, of_cache) in enumerate(heights.items()):
        axis.bar([x + step * i for x in range(len(labels))], of_cache, 0.95 * step, color=colour(cache), label=name(cache))
    axis.set_xticks([x + step * (len(heights) - 1) / 2 for x in range(len(labels))], labels)


def long_bars(axis: Any, lengths: dict[str, float], words: dict[str, str]) -> None:
    """Bars that lie, one below the other, each with its name before it and its words behind it."""
    places = range(len(lengths))
    axis.barh(places, list(lengths.values()), 0.7, color=[side_colour(cache) for cache in lengths])
    for place, (cache, length) in zip(places, lengths.items(), strict=True):
        axis.annotate(words[cache], (length, place), (3, 0), textcoords="offset points", fontsize=7, va="center")
    axis.set_yticks(places, list(lengths))
    axis.set_ylim(len(lengths) - 0.5, -0.5)
    axis.margins(x=0.2)
