"""docs/cost_model.md: bytes and instructions of a token by formula, beside what was measured.

Bytes come from the page layout through `qjl_bench cost`; instructions are counted by hand from the loops of the AVX-512 VBMI kernels,
in the terms below. Everything is for one token of one kv head that serves G query heads.
"""

from __future__ import annotations

from math import ceil

from tables import LONG, markdown, one, select

PAGE = """# What a token costs

Written by `bench/report/cost_model.py`; `./dev bench cost` prints its rows, `./dev bench` the measured ones. One token of one kv head, G query
heads per kv head, d channels.

    time = max(bytes / stream, instructions / rate)

A decode step reads every byte once, so bytes over the memory's read bandwidth is the floor; when several query heads share the bytes, the
instructions are what is left. `rate` is a property of the processor (the last column of the second table shows what it reached).

## Bytes

From `src/shared/page.hpp`: a page of 128 tokens, divided by 128. An exact 16-bit cache has 4 d bytes.

{bytes}

## Instructions

Counted from the loops for AVX-512 with VBMI (`src/cpu/bytes/scores_avx512vbmi.hpp`, `src/cpu/bytes/values_avx512vbmi.hpp`,
`src/cpu/bytes/weights.hpp`, `src/cpu/tile/mean_line.hpp`). Query heads go through the loops in groups of at most four (g of them), which
share loads, prefetches and decoding.

| part | shared, for each g | for each query head |
|---|---|---|
| keys, two signs (s2) and 3 bits (l8): T triples of byte rows a page, 6-bit groups | 20 T / 128: 6 loads, 6 prefetches, 6 `gf2p8affine`, 2 `vpternlog` | s2: 24 T / 128, l8: 28 T / 128: 8 `vpermb`, 4 table loads, the rest additions and widening |
| keys, 4 bits (l16): d / 8 words, both halves | 20 (d / 4) / 128: 4 loads, 4 prefetches, 4 shifts, 8 `vpermb` | 10 (d / 4) / 128: 8 `vpdpbusd`, 2 broadcasts |
| sums to scores | | 7 / 16 |
| line of the page mean | (d / 8) / 128 | (d + 80) / 128 |
| scales of keys and values | 96 / 128 | |
| softmax and weights as bytes | | 14 / 16 |
| values, 8 frames of d / 16 blocks: l4 7, l8 9, l16 10 a block | (7, 9, 10) d / 256 | 5 d / 256: 4 `vpdpbusd`, a quarter of 4 broadcasts, loop |
| accumulators | | 4 d / 256 at G = 1, a quarter of it else (four pages a pass) |

T = d / 12 for s2 (its 6-bit groups / 4, rounded up), d / 8 for l8.

{instructions}

Command: `./dev bench kernels cost`.
"""


def keys(code: int, head_dim: int) -> tuple[float, float]:
    """Shared and per query head; code: bits of a key number."""
    if code == 4:
        return 20 * (head_dim / 4) / 128, 10 * (head_dim / 4) / 128
    triples = ceil(head_dim / 3) / 4 if code == 2 else head_dim / 8
    return 20 * triples / 128, (24 if code == 2 else 28) * triples / 128


def instructions(cache: str, head_dim: int, group: int) -> float:
    key_bits, value_bits = int(cache[1]), int(cache[3])
    shared, each = keys(key_bits, head_dim)
    shared += head_dim / 8 / 128 + {2: 7, 3: 9, 4: 10}[value_bits] * head_dim / 256
    each += 7 / 16 + (head_dim + 80) / 128 + 14 / 16 + 5 * head_dim / 256
    each += (4 if group == 1 else 1) * head_dim / 256
    return 96 / 128 + ceil(group / 4) * shared + group * each


def bytes_table(rows: list[dict]) -> str:
    body = []
    for row in select(rows, group=1):
        parts = [f"{row[part]:.2f}" for part in ("keys", "values", "scales", "head_and_mean", "bytes")]
        body.append(
            [row["head_dim"], row["cache"], *parts, f"{row['bits_per_number']:.2f}", f"{4 * row['head_dim'] / row['bytes']:.2f}x"]
        )
    head = ["head_dim", "cache", "keys", "values", "scales", "head and mean", "all", "bits a number", "exact / this"]
    return markdown(head, body, 2)


def instructions_table(rows: list[dict], kernels: list[dict]) -> str:
    body = []
    for row in rows:
        shape = {"cache": row["cache"], "head_dim": row["head_dim"], "group": row["group"]}
        formula = instructions(**shape)
        measured = one(kernels, kind="attend", tokens=LONG, threads=1, **shape)
        cells = [
            row["head_dim"],
            row["cache"],
            row["group"],
            f"{formula:.1f}",
            "" if row["instructions"] is None else f"{row['instructions']:.1f}",
        ]
        if measured is None:
            body.append([*cells, "", "", "", ""])
            continue
        floor = row["bytes"] / measured["stream_gb_per_s"]
        whole = measured["ns_best"] * row["group"]
        limit = "memory" if floor > 0.8 * whole else "instructions"
        body.append([*cells, f"{floor:.2f}", f"{whole:.2f}", limit, f"{formula / whole:.1f}"])
    head = [
        "head_dim",
        "cache",
        "G",
        "instructions, formula",
        "counted",
        "bytes / stream, ns",
        "measured, ns",
        "limit",
        "instructions / ns",
    ]
    note = (
        "\n\nMeasured: 128k tokens, cold, one thread. Counted: by the processor, where the system lets programs read its counter."
    )
    return markdown(head, body, 2) + note


def cost_page(results: dict) -> str | None:
    rows = results["cost"]
    if not rows:
        return None
    tables = {"bytes": bytes_table(rows), "instructions": instructions_table(rows, results["kernels"])}
    return PAGE.format(**tables)
