"""`qjl serve` beside llama-server, and by itself: `./dev bench-serve`.

    serve_bench.py [PART...] --peer BIN --model FILE --q4-0 FILE [--clients 1 8] [--files Q4_1] [--quick] [--again]

Parts: A, B, C (load.py) and life: hold, decode, prefix, gaps, reproducible, chunk, restart (single.py). Default all. Every row is
appended to docs/results/serve.jsonl when it is measured; a run that was cut goes on behind it, --again measures its parts anew. At the
end, a cut included, docs/results/serve.md is written from the rows. --quick: small sizes, rows and page under build/bench, which says nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from load import PARTS, Load
from row_log import RowLog
from serve_report import page
from servers import Programs, usable_threads
from single import Single

ROOT = Path(__file__).resolve().parents[2]
LIFE = ("hold", "decode", "prefix", "gaps", "reproducible", "chunk", "restart")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--peer", type=Path, required=True, help="llama-server")
    parser.add_argument("--model", type=Path, required=True, help="the shipped file (Q4_1)")
    parser.add_argument("--q4-0", type=Path, required=True, help="the same model as Q4_0")
    parser.add_argument(
        "--clients", type=int, nargs="+", choices=[1, 8, 32], default=[1, 8, 32], help="of A, B and C; more wait for 1"
    )
    parser.add_argument("--files", nargs="+", choices=["Q4_1", "Q4_0"], default=["Q4_1", "Q4_0"], help="of A, B and C")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true", help="forget the rows of these parts")
    options = parser.parse_args()
    known = [*PARTS, *LIFE]
    options.parts = [name for part in options.parts or ["A", "B", "C", "life"] for name in (LIFE if part == "life" else [part])]
    if unknown := sorted(set(options.parts) - set(known)):
        parser.error(f"found part {', '.join(unknown)}, wanted some of {', '.join([*PARTS, 'life', *LIFE])}")
    return options


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def texts() -> dict[str, str]:
    """The four short ones of the studies, where they are on this machine; else the one of the examples."""
    folder = Path(os.environ.get("QJL_TEXTS", "/nonexistent"))
    listed = {text["name"]: folder / text["file"] for text in json.loads((ROOT / "tools/study/texts.json").read_text())}
    found = {name: listed[name].read_text() for name in ("book", "wiki", "news", "code") if listed[name].exists()}
    return found or {"south": (ROOT / "examples/texts/south.txt").read_text()}


def machine(build: Path) -> str:
    found = json.loads(subprocess.run([build / "qjl_bench", "machine"], check=True, capture_output=True, text=True).stdout)
    return f"{found['processor']} (family {found['family']}, model {found['model']}), {found['processors']} processors"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are ended on the way out
    options = parse()
    results = ROOT / ("build/bench" if options.quick else "docs/results")
    log = RowLog(results / "serve.jsonl", machine(options.build), set(options.parts) if options.again or options.quick else set())
    programs = Programs(options.build / "qjl", options.peer, usable_threads())
    text = (ROOT / "examples/texts/south.txt").read_text()
    load = Load(programs, log, text, options.quick, options.clients, say)
    single = Single(programs, options.build / "qjl_engine_bench", options.model, log, text, texts(), options.quick, say)
    models = {"Q4_1": options.model, "Q4_0": options.q4_0}
    try:
        for part in options.parts:
            start = time.monotonic()
            if part in PARTS:
                load.run(part, {file: path for file, path in models.items() if file in options.files})
            else:
                single.run(part)
            say(f"{part}: {time.monotonic() - start:.0f} s")
    finally:
        (results / "serve.md").write_text(page(log.of_all_machines()))


if __name__ == "__main__":
    main()
