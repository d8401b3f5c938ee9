"""The pictures of docs/results/speed, SVG and PNG, from the same rows as the tables."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tables import LONG, engine_ratio, name, one, select, short, unique

COLOURS = {
    "exact": "#555555",
    "exact_pairs": "#555555",
    "exact_rows": "#aaaaaa",
    "k2v2": "#d62728",
    "k3v2": "#1f77b4",
    "k3v3": "#17becf",
    "k4v4": "#2ca02c",
    "paper": "#ff7f0e",
    "kivi": "#9467bd",
    "f16": "#8c564b",
}
SHOWN = ["exact_rows", "exact_pairs", "k4v4", "k3v2", "k2v2"]


def colour(cache: str) -> str | None:
    return COLOURS.get(cache)


def save(figure: plt.Figure, folder: Path, title: str) -> None:
    figure.tight_layout()
    for ending, extra in ((".svg", {"metadata": {"Date": None}}), (".png", {"dpi": 120})):
        figure.savefig(folder / (title + ending), **extra)
    plt.close(figure)


def context_axis(axis: plt.Axes, lengths: list[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(lengths, [short(length) for length in lengths])
    axis.set_xlabel("context, tokens")
    axis.grid(alpha=0.3)


def draw_contexts(results: dict, folder: Path) -> None:
    rows = select(results["kernels"], kind="attend", threads=1, head_dim=128)
    if not rows:
        return
    groups, lengths = sorted(unique(rows, "group")), sorted(unique(rows, "tokens"))
    figure, axes = plt.subplots(1, len(groups), figsize=(3.6 * len(groups), 3.6), squeeze=False)
    for axis, group in zip(axes[0], groups, strict=True):
        for cache in SHOWN:
            found = sorted(select(rows, group=group, cache=cache), key=lambda row: row["tokens"])
            axis.plot(
                [r["tokens"] for r in found], [r["ns_best"] for r in found], "o-", ms=3, color=colour(cache), label=name(cache)
            )
        context_axis(axis, lengths)
        axis.set_ylim(bottom=0)
        axis.set_title(f"head_dim 128, G = {group}")
    axes[0][0].set_ylabel("ns per token and query head")
    axes[0][0].legend(fontsize=8)
    save(figure, folder, "contexts")


def draw_shares(results: dict, folder: Path) -> None:
    rows = [row for row in select(results["kernels"], kind="attend", threads=1, group=1, head_dim=128) if not row["warm"]]
    if not rows:
        return
    figure, axis = plt.subplots(figsize=(5, 3.6))
    for cache in SHOWN:
        found = sorted(select(rows, cache=cache), key=lambda row: row["tokens"])
        axis.plot(
            [r["tokens"] for r in found], [r["stream_share"] for r in found], "o-", ms=3, color=colour(cache), label=name(cache)
        )
    context_axis(axis, sorted(unique(rows, "tokens")))
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("share of stream read")
    axis.set_title("head_dim 128, G = 1, cold")
    axis.legend(fontsize=8)
    save(figure, folder, "shares")


def draw_ratios(results: dict, folder: Path) -> None:
    rows = select(results["kernels"], kind="attend", threads=1, tokens=LONG)
    shapes = sorted({(-row["head_dim"], row["group"]) for row in rows if "vs_exact" in row})
    if not shapes:
        return
    figure, axis = plt.subplots(figsize=(7.5, 3.6))
    caches = ["k2v2", "k3v2", "k3v3", "k4v4"]
    for i, cache in enumerate(caches):
        found = [one(rows, head_dim=-d, group=g, cache=cache) for d, g in shapes]
        heights = [0 if row is None else row["vs_exact"] for row in found]
        axis.bar([x + 0.2 * i for x in range(len(shapes))], heights, 0.19, color=colour(cache), label=cache)
    axis.axhline(1, color="black", lw=0.8)
    axis.set_xticks([x + 0.3 for x in range(len(shapes))], [f"d={-d}\nG={g}" for d, g in shapes])
    axis.set_ylabel("times the best exact bf16")
    axis.set_title("128k tokens, one thread")
    axis.legend(fontsize=8)
    save(figure, folder, "ratios")


def draw_peers(results: dict, folder: Path) -> None:
    rows = select(results["peers_attend"], threads=1)
    if not rows:
        return
    tokens = max(unique(rows, "tokens"))
    rows = select(rows, tokens=tokens)
    shapes = list(dict.fromkeys((row["head_dim"], row["group"]) for row in rows))
    caches = ["ggml q4_0", "ggml q8_0", "ggml f16", "exact_rows", "exact_pairs", "k4v4", "k3v2", "k2v2"]
    greys = {"ggml q4_0": "#c49c94", "ggml q8_0": "#e7ba52", "ggml f16": "#bd9e39"}
    figure, axis = plt.subplots(figsize=(8, 3.8))
    for i, cache in enumerate(caches):
        found = [one(rows, cache=cache, head_dim=d, group=g) for d, g in shapes]
        heights = [0 if row is None else row["ns_best"] for row in found]
        axis.bar(
            [x + 0.1 * i for x in range(len(shapes))], heights, 0.095, color=greys.get(cache, colour(cache)), label=name(cache)
        )
    axis.set_yscale("log")
    axis.set_xticks([x + 0.35 for x in range(len(shapes))], [f"d={d}\nG={g}" for d, g in shapes])
    axis.set_ylabel("ns per token and query head")
    axis.set_title(f"{short(tokens)} tokens, 8 kv heads, one thread, cold")
    axis.legend(fontsize=7, ncols=2)
    save(figure, folder, "peers")


def draw_engine(results: dict, folder: Path) -> None:
    rows = results["peers_engine"]
    if not rows:
        return
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for axis, kind, length in ((axes[0], "prompt", "tokens"), (axes[1], "decode", "depth")):
        here = [row for row in select(rows, kind=kind) if row.get("batch", 1) == 1]
        for threads, style in ((1, "-"), (2, "--")):
            points = sorted({row[length] for row in select(here, threads=threads)})
            found = [engine_ratio(here, threads=threads, **{length: point}) for point in points]
            for index, label, shade in ((0, "ours", colour("k3v2")), (1, "llama.cpp", colour("exact"))):
                ys = [pair[index] for pair in found if pair]
                xs = [point for point, pair in zip(points, found, strict=True) if pair]
                axis.plot(xs, ys, "o" + style, ms=3, color=shade, label=f"{label}, {threads} thread{'s'[: threads - 1]}")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("prompt length" if kind == "prompt" else "depth")
        axis.set_title(f"{kind}, tokens/s")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    save(figure, folder, "engine")


def draw_paper(results: dict, folder: Path) -> None:
    rows = results["paper"]
    if not rows:
        return
    layers = unique(rows, "layer")
    figure, axes = plt.subplots(2, len(layers), figsize=(4.5 * len(layers), 6.6), squeeze=False)
    for column, layer in enumerate(layers):
        here = select(rows, layer=layer)
        for axis, what, label in (
            (axes[0][column], "encode_seconds", "encoding, s"),
            (axes[1][column], "decode_seconds", "decoding, s"),
        ):
            for cache in unique(here, "cache"):
                found = sorted(select(here, cache=cache), key=lambda row: row["tokens"])
                axis.plot(
                    [r["tokens"] for r in found], [r[what] for r in found], "o-", ms=3, color=colour(cache), label=name(cache)
                )
            context_axis(axis, sorted(unique(here, "tokens")))
            axis.set_yscale("log")
            axis.set_ylabel(label)
            axis.set_title(layer)
    axes[0][0].legend(fontsize=8)
    save(figure, folder, "paper")


def draw_all(results: dict, folder: Path) -> None:
    matplotlib.rcParams["svg.hashsalt"] = "qjl"  # the same rows give the same file
    for draw in (draw_contexts, draw_shares, draw_ratios, draw_peers, draw_engine, draw_paper):
        draw(results, folder)
