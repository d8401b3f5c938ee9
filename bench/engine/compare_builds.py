"""Two builds of this project beside each other on one machine: is one of them slower?

    compare_builds.py --model FILE --before BUILD [--after BUILD] [--cache k3v2] [--depths 0,2048,7936] [--rounds 7]

What else is given goes to `qjl_bench quick`. Prompts and decode steps of the engine in rounds that take turns, and the ratios of `qjl_bench quick`, which each build measures
three times in turns. Prints one table in Markdown: the median of each build, their ratio, and the spread of the ratio over the rounds.
A ratio above 1 says that `after` is the better one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/common"))

from served import Served  # noqa: E402

STEPS, CONTEXT, PROMPT = 12, 8192, 512
QUICK_ROUNDS = 3
SIDES = ("before", "after")


@dataclass
class Row:
    """One figure: a value a round of each side."""

    name: str
    more_is_better: bool
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def line(self) -> str:
        before, after = (statistics.median(self.values[side]) for side in SIDES)
        pairs = zip(self.values["before"], self.values["after"], strict=True)
        ratios = [new / old if self.more_is_better else old / new for old, new in pairs]
        return f"| {self.name} | {before:.4g} | {after:.4g} | {statistics.median(ratios):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="a build's folder: it has qjl_bench and qjl_engine_bench")
    parser.add_argument("--after", type=Path, default=ROOT / "build/release")
    parser.add_argument("--cache", default="k3v2")
    parser.add_argument("--depths", default="0,2048,7936", help="rising")
    parser.add_argument("--rounds", type=int, default=7, help="of the engine's figures")
    options, options.more = parser.parse_known_args()
    return options


def turns(count: int) -> Iterator[str]:
    """Each side first every other time, so that neither always follows the other's heat."""
    for i in range(count):
        yield from SIDES if i % 2 == 0 else reversed(SIDES)


def measure_prompts(engines: dict[str, Served], tokens: list[int], depth: int, rounds: int) -> Row:
    row = Row(f"prompt of {PROMPT} at {depth}, tokens/s, 2 threads", more_is_better=True)
    for side in turns(rounds):
        engine = engines[side]
        engine.ask(op="threads", count=2)
        row.values[side].append(PROMPT / engine.ask(op="prompt", tokens=tokens)["seconds"])
        engine.ask(op="truncate", tokens=depth)
    return row


def measure_decode(engines: dict[str, Served], depth: int, threads: int, rounds: int) -> Row:
    row = Row(f"decode at {depth}, tokens/s, {threads} thread{'s' * (threads > 1)}", more_is_better=True)
    for side in turns(rounds):
        engines[side].ask(op="threads", count=threads)
        steps = engines[side].ask(op="decode", token=1, steps=STEPS)["seconds"][2:]
        row.values[side].append(1 / statistics.median(steps))
    return row


def engine_rows(options: argparse.Namespace) -> Iterator[Row]:
    numbers = random.Random(1)
    with ExitStack() as stack:
        engines = {
            side: stack.enter_context(Served([getattr(options, side) / "qjl_engine_bench", options.model])) for side in SIDES
        }
        for engine in engines.values():
            engine.ask(op="open", cache=options.cache, context=CONTEXT, sequences=1)
        length = 0
        for depth in map(int, options.depths.split(",")):
            more = [numbers.randrange(1000, 40000) for _ in range(max(depth - length, PROMPT))]
            for engine in engines.values():
                engine.ask(op="threads", count=2)
                if depth > length:
                    engine.ask(op="prompt", tokens=more[: depth - length])
            length = depth
            if depth + PROMPT <= CONTEXT:
                yield measure_prompts(engines, more[:PROMPT], depth, options.rounds)
            for threads in (1, 2):
                yield measure_decode(engines, depth, threads, options.rounds)


def quick_rows(options: argparse.Namespace) -> list[Row]:
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quick.json"
        for side in turns(min(QUICK_ROUNDS, options.rounds)):
            program = getattr(options, side) / "qjl_bench"
            subprocess.run([program, "quick", "--json", file, *options.more], check=True, stdout=subprocess.DEVNULL)
            for name, value in json.loads(file.read_text())["ratios"].items():
                if value is not None:
                    rows.setdefault(name, Row(f"`{name}`", "_ns_" not in name)).values[side].append(value)
    return list(rows.values())


def main() -> None:
    options = parse()
    print("| | before | after | ratio | of the rounds |\n|---|--:|--:|--:|--:|")
    for row in engine_rows(options):
        print(row.line(), flush=True)
    for row in quick_rows(options):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
