#!/usr/bin/env python3
"""Writes docs/results/NAME.md and its pictures from the raw results beside it, so that the documents cannot disagree with them.

Usage: report.py [--folder docs/results] [--tables-only] [NAME ...]     (default: every study that has results)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import channels
import distortion
import models
import rate
import retrieval
import sensitivity
from common import read_rows

FOLDER = Path(__file__).resolve().parents[2] / "docs/results"


@dataclass(frozen=True)
class Report:
    title: str
    source: str  # the raw results
    command: str
    markdown: Callable[[Any], str]
    draw: Callable[[Any, Path], None] | None  # None: tables alone


REPORTS = {
    "rate": Report("Bits against KL divergence", "rate.jsonl", "./dev study rate", rate.markdown, rate.draw),
    "retrieval": Report("Retrieval", "retrieval.jsonl", "./dev study retrieval", retrieval.markdown, retrieval.draw),
    "distortion": Report("Distortion", "distortion.jsonl", "./dev study distortion", distortion.markdown, distortion.draw),
    "sensitivity": Report("Sensitivity", "sensitivity.jsonl", "./dev study sensitivity", sensitivity.markdown, sensitivity.draw),
    "models": Report("Two models", "models.jsonl", "./dev study models", models.markdown, None),
    "channels": Report("Keys and values, channel by channel", "channels.json", "./dev inspect", channels.markdown, channels.draw),
}


def read_results(path: Path) -> Any:
    return read_rows(path) if path.suffix == ".jsonl" else json.loads(path.read_text(encoding="utf-8"))


def document(name: str, folder: Path) -> str:
    report = REPORTS[name]
    body = report.markdown(read_results(folder / report.source))
    head = f"# {report.title}\n\n`{report.command}` runs it again and writes this page; raw results: [{report.source}]({report.source}).\n\n"
    return head + body.rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REPORTS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--tables-only", action="store_true", help="no pictures")
    options = parser.parse_args()
    unknown = set(options.names) - set(REPORTS)
    if unknown:
        parser.error(f"found {', '.join(sorted(unknown))}, wanted {', '.join(REPORTS)}")
    for name in options.names or REPORTS:
        source = options.folder / REPORTS[name].source
        if not options.names and not source.exists():
            continue
        (options.folder / f"{name}.md").write_text(document(name, options.folder), encoding="utf-8")
        draw = REPORTS[name].draw
        if draw is not None and not options.tables_only:
            draw(read_results(source), options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
