"""Tables and pictures of `qjl inspect`: channel magnitudes of keys before and after RoPE and of values, and the share of the mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from common import figures, table
from plots import look
from plots.results import mean

SIDES = {"keys_before_rope": "keys before RoPE", "keys": "keys after RoPE", "values": "values"}


def layer_mean(layer: dict[str, Any], side: str, field: str) -> float:
    return mean(head[side][field] for head in layer["heads"])


def markdown(report: dict[str, Any]) -> str:
    head = ["layer"]
    for side in SIDES.values():
        head += [f"{side}: outliers", "mean", "page means"]
    head += [f"score error, `{cache}`" for cache in report["caches"]]
    lines = []
    for layer in report["layers"]:
        line = [str(layer["layer"])]
        for side in SIDES:
            line += [figures(layer_mean(layer, side, "outlier_ratio"))]
            line += [f"{layer_mean(layer, side, field):.2f}" for field in ("mean_share", "page_mean_share")]
        for cache in report["caches"]:
            line.append(figures(mean(h["errors"][cache]["score_error"] for h in layer["heads"])))
        lines.append(line)
    parts = [
        f"{report['model']} on {report['tokens']} tokens, the first four left out; means over the kv heads of a layer. outliers: largest over",
        "median channel magnitude (root mean square over tokens). mean: share of the energy that the mean over all tokens has; page",
        "means: the same with a mean for each page of 128 tokens. score error: standard deviation over tokens, in nats.",
        "",
        "![channel magnitudes](channels.svg)",
        "",
        "![share of the mean and outliers by layer](channels_by_layer.svg)",
        "",
        table(head, lines),
    ]
    return "\n".join(parts)


def draw(report: dict[str, Any], folder: Path) -> None:
    draw_magnitudes(report, folder)
    figure, axes = look.start_picture(columns=2, width=10, height=3.2)
    layers = [layer["layer"] for layer in report["layers"]]
    for side, words in SIDES.items():
        axes[0][0].plot(layers, [layer_mean(layer, side, "outlier_ratio") for layer in report["layers"]], label=words)
        axes[0][1].plot(layers, [layer_mean(layer, side, "page_mean_share") for layer in report["layers"]], label=words)
    axes[0][0].set_title("largest over median channel magnitude")
    axes[0][0].set_yscale("log")
    axes[0][1].set_title("share of the page mean in the energy")
    for axis in axes[0]:
        axis.set_xlabel("layer")
        look.legend(axis)
    look.save_picture(figure, folder / "channels_by_layer.svg")


def draw_magnitudes(report: dict[str, Any], folder: Path) -> None:
    """One row per layer and kv head, one column per channel: log2 of the magnitude over the head's median."""
    figure, axes = look.start_picture(columns=3, width=11, height=6)
    heads = len(report["layers"][0]["heads"])
    for axis, (side, words) in zip(axes[0], SIDES.items(), strict=True):
        grid = []
        for layer in report["layers"]:
            for head in layer["heads"]:
                magnitudes = head[side]["magnitude"]
                median = sorted(magnitudes)[(len(magnitudes) - 1) // 2]
                grid.append([math.log2(max(x, 1e-9) / max(median, 1e-9)) for x in magnitudes])
        picture = axis.imshow(grid, aspect="auto", cmap="RdBu_r", vmin=-4, vmax=4, interpolation="nearest")
        axis.set_title(words)
        axis.set_xlabel("channel")
        axis.set_yticks(range(0, heads * len(report["layers"]), heads * 5), range(0, len(report["layers"]), 5))
    axes[0][0].set_ylabel("layer, its kv heads one below the other")
    figure.colorbar(picture, ax=axes[0][-1], label="log2 of magnitude over the head's median")
    look.save_picture(figure, folder / "channels.svg")
