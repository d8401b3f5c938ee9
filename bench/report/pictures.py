"""The pictures of docs/results/speed, SVG and PNG, from the same rows as the tables. The Python package draws them (python/qjl/plots)."""

from __future__ import annotations

from pathlib import Path

import tables  # noqa: F401  says where plots are
from plots import look, speed

# The rows of a picture and what draws it.
PICTURES = {
    "contexts": ("kernels", speed.contexts),
    "shares": ("kernels", speed.shares),
    "ratios": ("kernels", speed.ratios),
    "peers": ("peers_attend", speed.peers),
    "engine": ("peers_engine", speed.engine),
    "paper": ("paper", speed.paper),
}


def draw_all(results: dict, folder: Path) -> None:
    for name, (source, draw) in PICTURES.items():
        for ending in (".svg", ".png"):
            figure = draw(results[source])
            if figure is not None:
                look.save_picture(figure, folder / (name + ending))
