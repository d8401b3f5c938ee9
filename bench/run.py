"""Runs the speed measurements and keeps their rows in docs/results/speed: one JSON lines file a part.

    run.py [PART...]        quick, kernels, targets, codes, paper, cost; default all of them
    run.py --peers [PART...]  attend, engine, quality against llama.cpp (needs its environment: ./dev bench-peers)

A part works in build/bench and moves its file when it is complete, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results/speed"
WORK = ROOT / "build/bench"
PARTS = ["quick", "kernels", "targets", "codes", "paper", "cost"]
NAMES_ITS_MACHINE = {"codes"}  # its rows may be of another one than the other parts'
PEER_PARTS = ["attend", "engine", "quality"]


class Runner:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.bench = options.build / "qjl_bench"
        WORK.mkdir(parents=True, exist_ok=True)
        options.results.mkdir(parents=True, exist_ok=True)

    def call(self, *words: object, target: str | None = None) -> None:
        env = dict(os.environ) | ({"QJL_CPU_TARGET": target} if target else {})
        subprocess.run([str(word) for word in words], check=True, env=env, stdout=subprocess.DEVNULL)

    def machine(self) -> dict:
        return json.loads(subprocess.run([self.bench, "machine"], check=True, capture_output=True, text=True).stdout)

    def keep(self, name: str) -> None:
        shutil.move(WORK / name, self.options.results / name)

    def quick(self) -> None:
        self.call(self.bench, "quick", "--json", WORK / "quick.json")
        self.keep("quick.json")

    def kernels(self) -> None:
        self.call(self.bench, "kernels", "--out", WORK / "kernels.jsonl", *self.options.more)
        self.keep("kernels.jsonl")

    def targets(self) -> None:
        """Every instruction set of this build and processor but the best: at 128k; the slow baseline at 16k."""
        for target in self.machine()["cpu_targets"][:-1]:
            tokens = 16384 if target == "scalar" else 131072
            words = ["--tokens", tokens, "--threads", 1, "--cache", "k2v2,k3v2,k4v4", *self.options.more]
            self.call(self.bench, "kernels", "--out", WORK / "targets.jsonl", *words, target=target)
        self.keep("targets.jsonl")

    def codes(self) -> None:
        """Trellis codes beside the others, on every instruction set that is not the slow baseline."""
        rows = [{"kind": "machine", **self.machine()}]
        for target in self.machine()["cpu_targets"]:
            if target != "scalar":
                env = dict(os.environ) | {"QJL_CPU_TARGET": target}
                done = subprocess.run(
                    [self.bench, "codes", *self.options.more], check=True, capture_output=True, text=True, env=env
                )
                rows += json.loads(done.stdout)["rows"]
        (WORK / "codes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.keep("codes.jsonl")

    def paper(self) -> None:
        self.call(self.bench, "paper", "--out", WORK / "paper.jsonl")
        self.keep("paper.jsonl")

    def cost(self) -> None:
        rows = json.loads(subprocess.run([self.bench, "cost"], check=True, capture_output=True, text=True).stdout)
        (WORK / "cost.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.keep("cost.jsonl")

    def peers(self, part: str) -> None:
        words = [self.options.peers_python, ROOT / "bench/rivals/peers.py", part, "--build", self.options.build]
        texts = ["--texts", *self.options.texts] if self.options.texts else []
        name = f"peers_{part}.jsonl"
        self.call(*words, "--out", WORK / name, *texts)
        self.keep(name)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--peers", action="store_true", help="the parts that run llama.cpp")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="a Python that has llama-cpp-python")
    parser.add_argument("--texts", type=Path, nargs="+", help="texts of the quality part (default: examples/texts)")
    options, options.more = parser.parse_known_args()
    known = PEER_PARTS if options.peers else PARTS
    options.parts = options.parts or known
    unknown = set(options.parts) - set(known)
    if unknown:
        parser.error(f"found part {', '.join(unknown)}, wanted one of {', '.join(known)}")
    return options


def main() -> None:
    options = parse()
    runner = Runner(options)
    if set(options.parts) - NAMES_ITS_MACHINE:
        (options.results / "machine.json").write_text(json.dumps(runner.machine(), indent=1) + "\n")
    for part in options.parts:
        start = time.monotonic()
        print(f"== {part}", file=sys.stderr)
        if options.peers:
            runner.peers(part)
        else:
            getattr(runner, part)()
        print(f"== {part}: {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
