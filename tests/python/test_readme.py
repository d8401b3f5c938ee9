"""The README keeps what it promises: its C++ compiles, its figures are those of docs/results, and it stays one page."""

from __future__ import annotations

import re
import subprocess
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
