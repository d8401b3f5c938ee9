"""Writes docs/results/speed.md with its pictures and docs/cost_model.md from the rows in docs/results/speed, and nothing else: a page
never disagrees with the rows.

    report.py [--results DIR] [--page FILE] [--cost-page FILE] [--no-pictures]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/common"))

import python_tables  # noqa: E402
import tables  # noqa: E402
from cost_model import cost_page  # noqa: E402
from goals import goals_table  # noqa: E402
from rows import read_rows  # noqa: E402

PAGE = """# Speed

Written by `bench/report/report.py` from the rows in `docs/results/speed`; `./dev bench` and `./dev bench-peers` measure them anew, on a machine
that does nothing else. Measured on: {machine}.

Times are the best of all rounds; the variants of a comparison take turns in every round. "Cold": other memory, three times the last level
cache, is read before each run. Contexts whose exact cache is at most half of the last level cache are timed warm. ns are per token and
query head; attention is one whole call of the public door for one sequence with 8 kv heads. G: query heads per kv head. "Stream" is the
best plain read of memory in the same rounds. "Exact" is our own best bf16 attention of the same rounds (paired or row-major, register
tiles and prefetch tried at run time), "rows" is the plain row-major one.

"""

SECTIONS = [
    ("Targets", "`./dev bench`, `./dev bench-peers` and `./dev bench python`", goals_table, None),
    ("Attention at 128k tokens, one thread", "`./dev bench kernels`", tables.attention, "ratios"),
    ("Attention by context, one thread", "`./dev bench kernels`", tables.contexts, "contexts"),
    ("Share of the memory's read bandwidth, one query head per kv head", "`./dev bench kernels`", tables.shares, "shares"),
    ("Two threads", "`./dev bench kernels`", tables.two_threads, None),
    ("Encoding", "`./dev bench kernels`", tables.encoding, None),
    ("Instruction sets", "`./dev bench targets`", tables.targets, None),
    ("Trellis codes", "`./dev bench codes`", tables.codes, None),
    ("Attention beside ggml's", "`./dev bench-peers attend`", tables.peers_attention, "peers"),
    ("The whole model beside llama.cpp", "`./dev bench-peers engine`", tables.engine, "engine"),
    ("Arithmetic: KL divergence from the fp32 path", "`./dev bench-peers quality`", tables.quality, None),
    ("The cache in Transformers", "`./dev bench python`", python_tables.transformers, None),
    ("The paper's experiment", "`./dev bench paper`", tables.paper, "paper"),
]


class Results(dict):
    """Rows by file name without ending; empty when a part has not been measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__({path.stem: read_rows(path) for path in sorted(folder.glob("*.jsonl"))})
        self.machine = json.loads((folder / "machine.json").read_text())

    def __missing__(self, name: str) -> list[dict]:
        return []


def page(results: Results) -> str:
    text = PAGE.format(machine=tables.machine_name(results.machine))
    for title, command, table, picture in SECTIONS:
        body = table(results)
        if body is None:
            continue
        text += f"## {title}\n\n{body}\n"
        if picture is not None:
            text += f"\n![{title}](speed/{picture}.svg)\n"
        text += f"\nCommand: {command}.\n\n"
    return text.rstrip("\n") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs/results/speed")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/results/speed.md")
    parser.add_argument("--cost-page", type=Path, default=ROOT / "docs/cost_model.md")
    parser.add_argument("--no-pictures", action="store_true")
    options = parser.parse_args()
    results = Results(options.results)
    options.page.write_text(page(results))
    cost = cost_page(results)
    if cost is not None:
        options.cost_page.write_text(cost)
    if not options.no_pictures:
        from pictures import draw_all

        draw_all(results, options.results)


if __name__ == "__main__":
    main()
