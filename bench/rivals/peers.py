"""Beside llama.cpp: attention by itself, the whole model, and how far its arithmetic is from ours in fp32.

    peers.py attend  --build DIR --out FILE
    peers.py engine  --build DIR --out FILE --model GGUF
    peers.py quality --build DIR --out FILE --model GGUF [--texts FILE...]

Runs in an environment with llama-cpp-python compiled for this processor (`./dev bench-peers` makes it). Both programs stand in
processes of their own and take turns, never at once; llama.cpp's flash attention is on. Rows are JSON lines.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/common"))  # rows, served

from peers_attend import bench_attend  # noqa: E402
from peers_engine import bench_engine, print_resident  # noqa: E402
from peers_quality import bench_quality  # noqa: E402


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["attend", "engine", "quality", "resident"])
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help="folder of the benchmark programs")
    parser.add_argument("--out", type=Path, help="JSON lines; written anew")
    parser.add_argument("--model", type=Path, default=ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--texts", type=Path, nargs="+", default=sorted((ROOT / "examples/texts").glob("*.txt")))
    parser.add_argument("--cache", default="k3v2", help="our cache type in the whole model")
    parser.add_argument("--threads", type=int, nargs="+", default=[t for t in (1, 2) if t <= len(os.sched_getaffinity(0))])
    parser.add_argument("--tokens", type=int, nargs="+", help="contexts (attend), prompt lengths (engine), text length (quality)")
    parser.add_argument("--llama-cache", default="f16", help="of `resident`, which prints one number and is used by engine")
    return parser.parse_args()


def main() -> None:
    options = parse()
    parts = {"attend": bench_attend, "engine": bench_engine, "quality": bench_quality, "resident": print_resident}
    parts[options.part](options)


if __name__ == "__main__":
    main()
