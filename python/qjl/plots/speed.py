"""Speed: what `./dev bench`, `./dev bench-peers` and `qjl eval --decode` have timed. Each function takes rows and gives a figure, or None
when none of them is of its kind. Times are the best of all rounds; ns are per token and query head.
"""

from __future__ import annotations

from typing import Any

from . import look
from .results import Row, name, one, select, short, unique

LONG = 131072
SHOWN = ["exact_rows", "exact_pairs", "k4v4", "k3v2", "k2v2"]

ATTEND = {"cache": str, "head_dim": int, "group": int, "tokens": int, "threads": int, "ns_best": float}
ENGINE = {"name": str, "threads": int, "tokens_per_second": float}
WANTED = "rows of `./dev bench` or `./dev bench-peers`, the JSON of `./dev bench --quick`, or that of `qjl eval --decode`"


def contexts(rows: list[Row]) -> Any:
    """Attention by context, a panel for each number of query heads per kv head."""
    rows = _one_head_dim(select(rows, kind="attend", threads=1))
    if not rows:
        return None
    groups, lengths = sorted(unique(rows, "group")), sorted(unique(rows, "tokens"))
    figure, axes = look.start_picture(len(groups), width=3.6 * len(groups), height=3.6)
    for axis, group in zip(axes[0], groups, strict=True):
        for cache in SHOWN:
            _line(axis, select(rows, group=group, cache=cache), "ns_best", cache)
        look.by_context(axis, lengths)
        axis.set_ylim(bottom=0)
        axis.set_title(f"head_dim {rows[0]['head_dim']}, G = {group}")
    axes[0][0].set_ylabel("ns per token and query head")
    look.legend(axes[0][0])
    return figure


def shares(rows: list[Row]) -> Any:
    """How much of the memory's read bandwidth attention takes, by context, cold."""
    rows = _one_head_dim([row for row in select(rows, kind="attend", threads=1, group=1) if not row["warm"]])
    if not rows:
        return None
    figure, ((axis,),) = look.start_picture(width=5, height=3.6)
    for cache in SHOWN:
        _line(axis, select(rows, cache=cache), "stream_share", cache)
    look.by_context(axis, sorted(unique(rows, "tokens")))
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("share of stream read")
    axis.set_title(f"head_dim {rows[0]['head_dim']}, G = 1, cold")
    look.legend(axis)
    return figure


def _one_head_dim(rows: list[Row]) -> list[Row]:
    """128 where it was timed, else the largest."""
    found = unique(rows, "head_dim")
    return select(rows, head_dim=128 if 128 in found else max(found, default=0))


def _line(axis: Any, rows: list[Row], field: str, cache: str) -> None:
    rows = sorted(rows, key=lambda row: row["tokens"])
    xs, ys = [row["tokens"] for row in rows], [row[field] for row in rows]
    axis.plot(xs, ys, "o-", ms=3, color=look.colour(cache), label=name(cache))


def ratios(rows: list[Row]) -> Any:
    """How many times as fast as the best exact attention, at the longest context, by shape."""
    rows = select(rows, kind="attend", threads=1, tokens=LONG)
    shapes = sorted({(-row["head_dim"], row["group"]) for row in rows if "vs_exact" in row})
    if not shapes:
        return None
    figure, ((axis,),) = look.start_picture(width=7.5, height=3.6)
    _bars(axis, ["k2v2", "k3v2", "k3v3", "k4v4"], rows, [(-d, group) for d, group in shapes], "vs_exact")
    axis.axhline(1, color="black", lw=0.8)
    axis.set_ylabel("times the best exact bf16")
    axis.set_title(f"{short(LONG)} tokens, one thread")
    look.legend_beside(axis)
    return figure


def peers(rows: list[Row]) -> Any:
    """Attention beside ggml's, at the longest context that was timed."""
    rows = select(rows, kind="peers_attend", threads=1)
    if not rows:
        return None
    tokens = max(unique(rows, "tokens"))
    rows = select(rows, tokens=tokens)
    shapes = list(dict.fromkeys((row["head_dim"], row["group"]) for row in rows))
    figure, ((axis,),) = look.start_picture(width=8, height=3.8)
    caches = ["ggml q4_0", "ggml q8_0", "ggml f16", "exact_rows", "exact_pairs", "k4v4", "k3v2", "k2v2"]
    _bars(axis, caches, rows, shapes, "ns_best")
    axis.set_yscale("log")
    axis.set_ylabel("ns per token and query head")
    axis.set_title(f"{short(tokens)} tokens, 8 kv heads, one thread, cold")
    look.legend_beside(axis)
    return figure


def _bars(axis: Any, caches: list[str], rows: list[Row], shapes: list[tuple[int, int]], field: str) -> None:
    """A bar for each cache, side by side at each shape (head_dim, query heads per kv head)."""
    found = [[one(rows, cache=cache, head_dim=head_dim, group=group) for head_dim, group in shapes] for cache in caches]
    heights = [[0 if row is None else row[field] for row in of_cache] for of_cache in found]
    look.bars(axis, dict(zip(caches, heights, strict=True)), [f"d={head_dim}\nG={group}" for head_dim, group in shapes])


def engine(rows: list[Row]) -> Any:
    """The whole model beside llama.cpp's best cache type: prompts by their length, one-token steps by depth."""
    rows = [row for row in rows if row.get("kind") in ("prompt", "decode") and row.get("batch", 1) == 1]
    if not rows:
        return None
    figure, axes = look.start_picture(columns=2, width=9, height=3.6)
    for axis, kind, length in ((axes[0][0], "prompt", "tokens"), (axes[0][1], "decode", "depth")):
        for threads, style in ((1, "-"), (2, "--")):
            here = select(rows, kind=kind, threads=threads)
            theirs = [row for row in here if row["name"].startswith("llama.cpp")]
            ours = [row for row in here if row not in theirs]
            for of_side, label, shade in ((ours, "ours", look.colour("k3v2")), (theirs, "llama.cpp", look.colour("exact"))):
                points = sorted(unique(of_side, length))
                best = [max(row["tokens_per_second"] for row in select(of_side, **{length: point})) for point in points]
                axis.plot(points, best, "o" + style, ms=3, color=shade, label=f"{label}, {threads} thread{'s'[: threads - 1]}")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("prompt length" if kind == "prompt" else "depth")
        axis.set_title(f"{kind}, tokens/s")
        look.grid(axis)
    look.legend(axes[0][0])
    return figure


def paper(rows: list[Row]) -> Any:
    """The paper's experiment: encoding a prompt and decoding a token in one attention layer, by context."""
    rows = select(rows, kind="paper")
    if not rows:
        return None
    layers = unique(rows, "layer")
    figure, axes = look.start_picture(len(layers), rows=2, width=4.5 * len(layers), height=6.6)
    for column, layer in enumerate(layers):
        here = select(rows, layer=layer)
        for axis, what, label in (
            (axes[0][column], "encode_seconds", "encoding, s"),
            (axes[1][column], "decode_seconds", "decoding, s"),
        ):
            for cache in unique(here, "cache"):
                _line(axis, select(here, cache=cache), what, cache)
            look.by_context(axis, sorted(unique(here, "tokens")))
            axis.set_yscale("log")
            axis.set_ylabel(label)
            axis.set_title(layer)
    look.legend(axes[0][0])
    return figure


def steps(rows: list[Row]) -> Any:
    """One-token steps of `qjl eval --decode`: a panel for each text and context, a bar for each cache type."""
    rows = select(rows, kind="eval")
    panels = list(dict.fromkeys((row["text"], row["context"]) for row in rows))
    if not panels:
        return None
    figure, axes = look.start_picture(columns=len(panels), width=4.6 * len(panels), height=1.2 + 0.22 * len(unique(rows, "cache")))
    for axis, (text, context) in zip(axes[0], panels, strict=True):
        here = select(rows, text=text, context=context)
        found = {row["cache"]: row["decode_tokens_per_second"] for row in here}
        look.long_bars(axis, found, {cache: f"{number:.1f}" for cache, number in found.items()})
        axis.set_xlabel("tokens/s, one at a time")
        axis.set_title(f"{text}, after {short(context)} tokens")
    return figure


def quick(rows: list[Row]) -> Any:
    """The rows of `./dev bench --quick`: attention by shape, and the encoders."""
    rows = [row for row in select(rows, kind="quick") if not row["name"].startswith("stream")]
    encoders = [row for row in rows if row["name"].startswith("encode")]
    attends = [row for row in rows if row not in encoders]
    if not rows:
        return None
    figure, axes = look.start_picture(columns=2, width=9, height=1.2 + 0.22 * len(rows))
    for axis, of_axis, unit in ((axes[0][0], attends, "ns per token and query head"), (axes[0][1], encoders, "ns a pair")):
        found = {row["name"].removeprefix("encode "): row["ns_best"] for row in of_axis}
        look.long_bars(axis, found, {cache: f"{number:.2f}" for cache, number in found.items()})
        axis.set_ylim(len(attends) - 0.5, -0.5)  # bars of one thickness
        axis.set_xlabel(unit)
        axis.set_title("encoding" if of_axis is encoders else "attention")
    return figure


# Which fields of which kinds of rows each picture of the command line reads.
DRAWINGS = (
    ({"attend": ATTEND | {"warm": bool}}, contexts),
    ({"peers_attend": ATTEND}, peers),
    ({"prompt": ENGINE | {"tokens": int}, "decode": ENGINE | {"depth": int, "batch": int}}, engine),
    ({"paper": {"layer": str, "cache": str, "tokens": int, "encode_seconds": float, "decode_seconds": float}}, paper),
    ({"eval": {"cache": str, "context": int, "text": str, "decode_tokens_per_second": float}}, steps),
    ({"quick": {"name": str, "ns_best": float}}, quick),
)
