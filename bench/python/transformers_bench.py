"""The compressed cache in Transformers beside the caches that Transformers has: `./dev bench python`.

    transformers_bench.py --model FILE.gguf --folder DIR [--out FILE] [--build DIR] [--cache k3v2] [--rounds N] [--depths 0,4096,7808] ...

One-token steps of the model at rising depths of a text, fp32 and bf16, torch on one thread; two threads beside one; the attention
layers of a step alone. Variants take turns; a row has the median of its steps and their spread. The program runs the same model from its GGUF
file, with weights of 4 bits and products in whole numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/common"))

import torch  # noqa: E402
from caches import Text, load, read_text  # noqa: E402
from layer import Layers  # noqa: E402
from rows import RowFile  # noqa: E402
from served import Served  # noqa: E402
from steps import TURN, Program, Steps  # noqa: E402
from turns import Variant, on_last_processor, take_turns  # noqa: E402

Row = dict[str, object]


def numbers(text: str) -> list[int]:
    return sorted(map(int, text.split(",")))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--folder", type=Path, required=True, help="the same model as a folder of Transformers")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/speed/python.jsonl")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--text", type=Path, default=ROOT / "examples/texts/south.txt")
    parser.add_argument("--cache", default="k3v2")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--depths", type=numbers, default=[0, 4096, 7808], help="of steps in fp32")
    parser.add_argument("--bf16-depths", type=numbers, default=[0, 4096])
    parser.add_argument("--threads-depth", type=int, default=4096, help="where two threads are timed beside one")
    parser.add_argument("--layer-tokens", type=int, default=4096, help="a multiple of 128")
    return parser.parse_args()


def step_rows(text: Text, depth: int, options: argparse.Namespace, program: Program) -> Iterator[Row]:
    steps = Steps(text, depth, 1)
    variants = [steps.compressed(options.cache), steps.growing("sdpa"), steps.growing("eager"), steps.fixed("sdpa")]
    variants += [steps.products(), program.variant(depth, 1)]
    for row in take_turns(variants, options.rounds):
        yield {"kind": "step", "dtype": str(text.model.dtype).removeprefix("torch."), "depth": depth, "threads": 1, **row}


def thread_rows(text: Text, options: argparse.Namespace) -> Iterator[Row]:
    """Ours on two threads beside torch's own two, ours on one beside them, and all on one."""
    one, two = (Steps(text, options.threads_depth, threads) for threads in (1, 2))
    pairs: list[tuple[int, int | None, Variant]] = [
        (1, 1, one.compressed(options.cache)),
        (2, 1, two.compressed(options.cache, threads=1)),
        (2, 2, two.compressed(options.cache)),
        (1, None, one.growing("sdpa")),
        (2, None, two.growing("sdpa")),
    ]
    for (threads, own, _), row in zip(pairs, take_turns([variant for _, _, variant in pairs], options.rounds), strict=True):
        yield {"kind": "threads", "depth": options.threads_depth, "threads": threads, "own_threads": own, **row}


def layer_rows(text: Text, options: argparse.Namespace) -> Iterator[Row]:
    layers = Layers(text.model, text.first(options.layer_tokens), options.cache)
    with Served([options.build / "qjl_bench", "serve"]) as served, on_last_processor():
        for row in take_turns(layers.variants(served), options.rounds):
            yield {"kind": "layer", "tokens": options.layer_tokens, "layers": len(layers.rows), "threads": 1, **row}


def machine_row(options: argparse.Namespace) -> Row:
    done = subprocess.run([options.build / "qjl_bench", "machine"], check=True, capture_output=True, text=True)
    return {"kind": "machine", **json.loads(done.stdout)}


def measure(options: argparse.Namespace) -> Iterator[Row]:
    yield machine_row(options)
    longest = max(*options.depths, *options.bf16_depths, options.threads_depth, options.layer_tokens)
    text = read_text(options.folder, options.text, longest, 2 * TURN)
    yield from layer_rows(text, options)
    yield from thread_rows(text, options)
    with Served([options.build / "qjl_engine_bench", options.model]) as served:
        for model, depths in ((text.model, options.depths), (load(options.folder, torch.bfloat16), options.bf16_depths)):
            program = Program(served, text.tokens[0, : longest + 2 * TURN].tolist(), options.cache)
            for depth in depths:
                yield from step_rows(text.of(model), depth, options, program)


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    rows = RowFile(options.out)
    with torch.inference_mode():
        for row in measure(options):
            rows.add(**row)
            print(row, file=sys.stderr, flush=True)
    rows.flush()


if __name__ == "__main__":
    main()
