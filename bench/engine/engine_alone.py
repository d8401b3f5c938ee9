"""The engine by itself: how decode steps scale with threads beside what memory gives, and the encoders' share of a prompt.

    engine_alone.py --model FILE [--build DIR] [--cache k3v2] [--depths 0,2048,7936]

A step reads every weight once, so its speed on two threads is bounded by the stream read on two threads: both are printed. The
encoders' share is the time of a second append of the same keys and values, layer by layer, inside the prompt.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/common"))

from served import Served  # noqa: E402

THREADS = (1, 2)
ROUNDS, STEPS, CONTEXT = 6, 12, 8192


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--cache", default="k3v2")
    parser.add_argument("--depths", default="0,2048,7936", help="rising")
    return parser.parse_args()


def grow(served: Served, tokens: list[int]) -> str:
    """Appends a stretch on both threads; the encoders' share of it."""
    served.ask(op="threads", count=max(THREADS))
    answer = served.ask(op="prompt", tokens=tokens, copies=1)
    prompt = answer["seconds"] - answer["copy_seconds"]
    return f"{len(tokens) / prompt:.0f} tokens/s, encoding {answer['copy_seconds'] / prompt:.1%} of its time"


def decode(served: Served) -> str:
    seconds: dict[int, list[float]] = {threads: [] for threads in THREADS}
    for _ in range(ROUNDS):
        for threads in THREADS:
            served.ask(op="threads", count=threads)
            seconds[threads] += served.ask(op="decode", token=1, steps=STEPS)["seconds"][2:]
    one, two = (statistics.median(seconds[threads]) for threads in THREADS)
    return f"{1 / one:.0f} and {1 / two:.0f} tokens/s on one and two threads, x {one / two:.2f}"


def stream(served: Served) -> str:
    read = []
    for threads in THREADS:
        served.ask(op="threads", count=threads)
        read.append(served.ask(op="stream")["gb_per_s"])
    return f"{read[0]:.1f} and {read[1]:.1f} GB/s, x {read[1] / read[0]:.2f}"


def main() -> None:
    options = parse()
    numbers = random.Random(1)
    with Served([options.build / "qjl_engine_bench", options.model]) as served:
        served.ask(op="open", cache=options.cache, context=CONTEXT, sequences=2)
        length = 0
        for depth in map(int, options.depths.split(",")):
            if depth > length:
                tokens = [numbers.randrange(1000, 40000) for _ in range(depth - length)]
                print(f"prompt {length} to {depth}: {grow(served, tokens)}", flush=True)
                length = depth
            print(f"decode at {depth}: {decode(served)}", flush=True)
            print(f"memory read: {stream(served)}", flush=True)


if __name__ == "__main__":
    main()
