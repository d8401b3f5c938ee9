#!/usr/bin/env python3
"""gpu.jsonl as a table, and beside the targets: what ./dev gpu prints last. Usage: summary.py FILE

share     bytes of the pages a second, over what a copy on the same device reads and writes
vs bf16   time of the fastest exact attention of the run (our own kernel, torch's) over ours
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TYPES = ("k2v2", "k3v2", "k4v4")
LARGE_BYTES = 64e6  # from here on a launch is long enough for its share to be judged
KV_HEADS = 8

Row = dict


def shape_of(row: Row) -> tuple[int, int, int]:
    return row["tokens"], row["batch"], row["group"]


def attends(rows: list[Row]) -> list[Row]:
    """Rows of our caches, each with `vs_bf16`."""
    timed = [row for row in rows if row["case"] == "attend" and "us" in row]
    exact: dict[tuple[int, int, int], float] = {}
    for row in timed:
        if "bf16" in row["cache"]:
            exact[shape_of(row)] = min(row["us"], exact.get(shape_of(row), row["us"]))
    return [{**row, "vs_bf16": exact[shape_of(row)] / row["us"]} for row in timed if row["cache"] in TYPES]


def targets(rows: list[Row]) -> list[tuple[str, float | None, str, float]]:
    """What, the worst that was found (None: not measured), the comparison, and what was wanted."""
    ours = attends(rows)
    batch = [row["vs_bf16"] for row in ours if row["batch"] >= 8 or row["tokens"] >= 1 << 20]
    long = [row for row in ours if shape_of(row) == (131072, 1, 4)]
    short = [row["us_graph"] for row in ours if row["tokens"] == 4096 and row["batch"] == 1]
    encode = []
    for prefill in (row for row in rows if row["case"] == "prefill" and "us" in row):
        pairs = prefill["tokens"] * KV_HEADS
        costs = [row["encode_ns_per_pair"] for row in ours if shape_of(row)[:2] == (prefill["tokens"], 1)]
        encode += [cost * pairs / (1e3 * prefill["us"]) for cost in costs]

    def worst(numbers: list[float], of: object) -> float | None:
        return of(numbers) if numbers else None

    return [
        (
            "share of the copy, 64 MB and more",
            worst([row["share"] for row in ours if row["bytes"] >= LARGE_BYTES], min),
            ">=",
            0.80,
        ),
        ("128k, batch 1, G = 4: us", worst([row["us"] for row in long], max), "<=", 28),
        ("128k, batch 1, G = 4: vs bf16", worst([row["vs_bf16"] for row in long], min), ">=", 4.5),
        ("batch 8 and more, or 1M tokens: vs bf16", worst(batch, min), ">=", 5),
        ("4k, batch 1, as a graph: us", worst(short, max), "<=", 10),
        ("encoding over exact prefill attention", worst(encode, max), "<=", 0.20),
    ]


def report(rows: list[Row]) -> list[str]:
    lines = [
        f"{'tokens':>8} {'batch':>5} {'G':>2} {'cache':>6} {'us':>9} {'graph':>9} {'share':>6} {'vs bf16':>7} {'encode ns':>9}"
    ]
    for row in attends(rows):
        lines.append(
            f"{row['tokens']:8} {row['batch']:5} {row['group']:2} {row['cache']:>6} {row['us']:9.1f} {row['us_graph']:9.1f} "
            f"{row['share']:6.2f} {row['vs_bf16']:7.2f} {row['encode_ns_per_pair']:9.1f}"
        )
    for what, found, sign, wanted in targets(rows):
        holds = found is not None and (found >= wanted if sign == ">=" else found <= wanted)
        number = "not measured" if found is None else f"{found:.3g} {'holds' if holds else 'MISSED'}"
        lines.append(f"target {what} {sign} {wanted:g}: {number}")
    for row in rows:
        if row["case"] in ("machine", "first hour", "stage", "failed", "torch"):
            lines.append(json.dumps(row))
    return lines


def main() -> None:
    rows = []
    for line in Path(sys.argv[1]).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # a stage was stopped in the middle of a line
            continue
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
