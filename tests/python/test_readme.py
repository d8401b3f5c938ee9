"""The README keeps what it promises: its C++ compiles, its figures are those of docs/results, it stays one page, and the words of
its picture stay in their boxes.
"""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What the README's lines take from their surroundings.
BEFORE = """
#include "qjl/attention.hpp"
void readme(int layer, qjl::TensorView keys, qjl::TensorView values, qjl::TensorView queries, qjl::OutputView out) {
"""


def table(text: str, first_header: str) -> dict[str, dict[str, str]]:
    """The markdown table whose first column has that header: name of a row -> header -> cell."""
    rows = re.search(rf"^\| {first_header} \|.*\n\|[-:|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert rows, first_header
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[0].splitlines()]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_the_cpp_compiles() -> None:
    code = re.search(r"```cpp\n(.*?)```", README, re.DOTALL)
    assert code
    done = subprocess.run(
        [
            "c++",
            "-std=c++20",
            "-Wall",
            "-Wextra",
            "-Wno-missing-field-initializers",
            "-fsyntax-only",
            "-x",
            "c++",
            "-I",
            ROOT / "include",
            "-",
        ],
        input=BEFORE + code[1] + "}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_each_figure_stands_in_the_results() -> None:
    results = table((ROOT / "docs/results/README.md").read_text(encoding="utf-8"), "cache type")
    for name, row in table(README, "cache type").items():
        assert row.items() <= results[name].items(), name


def test_it_stays_one_page() -> None:
    assert README.count("\n") <= 80


def test_the_words_of_the_picture_stay_in_their_boxes() -> None:
    """textLength is the width in Arial; common fonts are up to a quarter wider, and some viewers ignore textLength."""
    space = {"svg": "http://www.w3.org/2000/svg"}
    picture = xml.parse(ROOT / "docs/route.svg").getroot()
    boxes = []
    for box in picture.findall("svg:rect", space):
        left, top, width, height = (float(box.get(name, "0")) for name in ("x", "y", "width", "height"))
        boxes.append((left, top, left + width, top + height))
    for text in picture.findall("svg:text", space):
        x, y, width = float(text.get("x")), float(text.get("y")), 1.25 * float(text.get("textLength"))
        left = x - width / 2 if text.get("text-anchor") == "middle" else x
        around = [box for box in boxes if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
        smallest = min(around, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        assert smallest[0] + 2 <= left and left + width + 2 <= smallest[2], text.text
