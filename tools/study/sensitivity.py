"""Tables and pictures of `qjl study sensitivity`: the KL divergence of coding one layer's keys or values alone."""

from __future__ import annotations

from pathlib import Path

from common import figures, table
from plots import look
from plots.results import Row, mean


class Damages:
    """Mean over texts by (side, code, layer)."""

    def __init__(self, rows: list[Row]) -> None:
        self.texts = list(dict.fromkeys(row["text"] for row in rows))
        self.codes = list(dict.fromkeys((row["side"], row["code"], row["bits"]) for row in rows))
        self.layers = sorted({row["layer"] for row in rows})
        found: dict[tuple[str, str, int], list[float]] = {}
        for row in rows:
            found.setdefault((row["side"], row["code"], row["layer"]), []).append(row["kld_mean"])
        self.damage = {key: mean(values) for key, values in found.items()}

    def by_layer(self, side: str, code: str) -> list[float]:
        return [self.damage[side, code, layer] for layer in self.layers]


def sums_table(damages: Damages) -> str:
    lines = []
    for side, code, bits in damages.codes:
        by_layer = damages.by_layer(side, code)
        total, worst = sum(by_layer), max(range(len(by_layer)), key=by_layer.__getitem__)
        half = sorted(by_layer, reverse=True)
        count = next(n for n in range(1, len(half) + 1) if sum(half[:n]) >= total / 2)
        line = [side, f"`{code}`", f"{bits:.2f}", figures(total), str(damages.layers[worst])]
        lines.append([*line, f"{100 * by_layer[worst] / total:.0f} %", str(count)])
    head = ["side", "code", "bits", "sum over layers", "worst layer", "its share", "layers that make half"]
    return table(head, lines, left=2)


def layers_table(damages: Damages) -> str:
    head = ["layer"] + [f"{side} `{code}`" for side, code, _ in damages.codes]
    lines = []
    for layer in damages.layers:
        lines.append([str(layer)] + [figures(1e3 * damages.damage[side, code, layer], 2) for side, code, _ in damages.codes])
    return table(head, lines)


def markdown(rows: list[Row]) -> str:
    damages = Damages(rows)
    parts = [
        f"Mean KL divergence when one layer's keys, or its values, are coded and all else is exact; mean over {', '.join(damages.texts)},",
        f"{rows[0]['positions']} positions after {rows[0]['context'] - rows[0]['positions']} exact tokens.",
        "",
        "![damage by layer](sensitivity.svg)",
        "",
        sums_table(damages),
        "By layer, in thousandths of a nat:",
        "",
        layers_table(damages),
    ]
    return "\n".join(parts)


def draw(rows: list[Row], folder: Path) -> None:
    damages = Damages(rows)
    figure, axes = look.start_picture(columns=2, width=10, height=3.4)
    for axis, side in zip(axes[0], ("keys", "values"), strict=True):
        for name, code, bits in damages.codes:
            if name == side:
                axis.plot(damages.layers, damages.by_layer(side, code), "o-", ms=3, lw=1, label=f"{code}, {bits:.2f} bits")
        look.in_decades(axis)
        axis.set_xlabel("layer")
        axis.set_title(f"one layer's {side} coded")
        look.legend(axis)
    axes[0][0].set_ylabel("mean KL divergence (nats)")
    look.save_picture(figure, folder / "sensitivity.svg")
