"""The tables of docs/results/speed.md. Each takes all rows and gives markdown, or None when its part has not been measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "python/qjl"))

from plots.results import name, one, select, short, unique
from plots.speed import LONG


def machine_name(machine: dict) -> str:
    return (
        f"{machine['processor']} (family {machine['family']}, model {machine['model']}), {machine['processors']} processors, "
        f"{machine['last_level_cache_mb']:.0f} MB of last level cache, {machine['memory_gb']:.0f} GB of memory, {machine['system']}, "
        f"compiler {machine['compiler']}"
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """The first `words` columns are left-aligned, numbers right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * words + "--:|" * (len(head) - words)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def ratio(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}x"


def attention(results: dict) -> str | None:
    rows = select(results["kernels"], kind="attend", tokens=LONG, threads=1)
    if not rows:
        return None
    head = ["head_dim", "G", "cache", "ns", "median", "spread", "bytes a token", "GB/s", "of stream", "vs exact", "vs rows"]
    body = []
    for row in sorted(rows, key=lambda r: (-r["head_dim"], r["group"])):
        body.append(
            [
                row["head_dim"],
                row["group"],
                name(row["cache"]),
                f"{row['ns_best']:.2f}",
                f"{row['ns_median']:.2f}",
                f"{100 * row['spread']:.0f} %",
                f"{row['bytes'] / LONG / 8:.1f}",
                f"{row['gb_per_s']:.1f}",
                f"{row['stream_share']:.2f}",
                ratio(row.get("vs_exact")),
                ratio(row.get("vs_rows")),
            ]
        )
    return markdown(head, body, 3)


def contexts(results: dict) -> str | None:
    rows = select(results["kernels"], kind="attend", threads=1)
    if not rows:
        return None
    lengths = sorted(unique(rows, "tokens"))
    body = []
    for head_dim in sorted(unique(rows, "head_dim"), reverse=True):
        for group in sorted(unique(rows, "group")):
            for cache in unique(rows, "cache"):
                cells = []
                for tokens in lengths:
                    row = one(rows, head_dim=head_dim, group=group, cache=cache, tokens=tokens)
                    against = f" ({row['vs_exact']:.1f}x)" if row and "vs_exact" in row and not cache.startswith("exact") else ""
                    cells.append("" if row is None else f"{row['ns_best']:.2f}{against}{' w' if row['warm'] else ''}")
                body.append([head_dim, group, name(cache), *cells])
    note = "\nns per token and query head, in brackets the ratio to exact; w: warm.\n"
    return markdown(["head_dim", "G", "cache", *map(short, lengths)], body, 3) + "\n" + note


def shares(results: dict) -> str | None:
    rows = [row for row in select(results["kernels"], kind="attend", group=1, threads=1) if not row["warm"]]
    if not rows:
        return None
    lengths = sorted(unique(rows, "tokens"))
    body = []
    for head_dim in sorted(unique(rows, "head_dim"), reverse=True):
        for cache in unique(rows, "cache"):
            found = [one(rows, head_dim=head_dim, cache=cache, tokens=tokens) for tokens in lengths]
            body.append([head_dim, name(cache), *("" if row is None else f"{row['stream_share']:.2f}" for row in found)])
    return markdown(["head_dim", "cache", *map(short, lengths)], body, 2)


def two_threads(results: dict) -> str | None:
    rows = select(results["kernels"], kind="attend", tokens=LONG)
    body = []
    for two in select(rows, threads=2):
        single = one(rows, threads=1, head_dim=two["head_dim"], group=two["group"], cache=two["cache"])
        if single is None:
            continue
        speedup = ratio(single["ns_best"] / two["ns_best"])
        stream = ratio(two["stream_gb_per_s"] / single["stream_gb_per_s"])
        body.append(
            [
                two["head_dim"],
                two["group"],
                name(two["cache"]),
                f"{two['ns_best']:.2f}",
                speedup,
                stream,
                ratio(two.get("vs_exact")),
            ]
        )
    if not body:
        return None
    body.sort(key=lambda line: (-line[0], line[1]))
    return markdown(["head_dim", "G", "cache", "ns", "vs one thread", "stream vs one thread", "vs exact"], body, 3)


def encoding(results: dict) -> str | None:
    rows = [row for file in ("kernels", "targets") for row in select(results[file], kind="encode")]
    body = [
        [row["cpu_target"], row["head_dim"], row["threads"], row["cache"], f"{row['ns_best']:.0f}", f"{row['ns_median']:.0f}"]
        for row in rows
    ]
    head = ["instruction set", "head_dim", "threads", "cache", "ns a pair", "median"]
    return markdown(head, body, 4) + "\n\nappend() of 4096 tokens of 8 kv heads from fp32 rows, the whole call." if body else None


def targets(results: dict) -> str | None:
    body = []
    for row in select(results["targets"], kind="attend"):
        if row["cache"].startswith("exact"):
            continue
        same = {key: row[key] for key in ("head_dim", "group", "tokens", "threads", "cache")}
        best = one(results["kernels"], kind="attend", **same)
        slower = "" if best is None else ratio(row["ns_best"] / best["ns_best"])
        shape = [row["cpu_target"], row["head_dim"], row["group"], short(row["tokens"]), row["cache"]]
        body.append([*shape, f"{row['ns_best']:.2f}", slower, ratio(row.get("vs_exact"))])
    head = ["instruction set", "head_dim", "G", "context", "cache", "ns", "times the best set's", "vs exact (AVX-512)"]
    return markdown(head, body, 5) if body else None


TRELLIS = {"t2v2": "k2v2", "t3v2": "k3v2", "t3v3": "k3v3", "t4v4": "k4v4"}  # each beside the level code of about its bits


def codes(results: dict) -> str | None:
    rows = results["codes"]
    if not rows:
        return None
    caches = unique(select(rows, kind="encode"), "cache")
    body = []

    def add(what: str, digits: int, figure: str, **shape: object) -> None:
        found = {row["cache"]: row[figure] for row in select(rows, **shape)}
        against = {cache: f" ({found[cache] / found[TRELLIS[cache]]:.2f}x)" for cache in found if TRELLIS.get(cache) in found}
        cells = [f"{found[cache]:.{digits}f}{against.get(cache, '')}" if cache in found else "" for cache in caches]
        body.append([shape["cpu_target"], shape["head_dim"], what, *cells])

    for target in unique(select(rows, kind="encode"), "cpu_target"):
        for head_dim in unique(select(rows, kind="encode"), "head_dim"):
            here = {"cpu_target": target, "head_dim": head_dim}
            for group in unique(select(rows, kind="attend"), "group"):
                add(f"attend, G={group}, ns", 2, "ns_best", kind="attend", group=group, **here)
            add("encode, ns a pair", 0, "ns_best", kind="encode", **here)
            add("longest decode step over the median", 1, "step_longest_over_median", kind="encode", **here)
    note = (
        f"\n\nMeasured on: {machine_name(one(rows, kind='machine'))}. Attention cold at 16k tokens, 8 kv heads, one thread; in brackets a "
        "trellis code over the level code of about its bits ("
        + ", ".join(f"{trellis} over {level}" for trellis, level in TRELLIS.items())
        + "). The longest of 256 decode steps of one layer, with G=4, is one that seals a page."
    )
    return markdown(["instruction set", "head_dim", "what", *caches], body, 3) + note


def peers_attention(results: dict) -> str | None:
    rows = results["peers_attend"]
    if not rows:
        return None
    caches = unique(rows, "cache")
    body = []
    for threads in unique(rows, "threads"):
        for tokens in unique(rows, "tokens"):
            for head_dim, group in dict.fromkeys((row["head_dim"], row["group"]) for row in rows):
                shape = {"threads": threads, "tokens": tokens, "head_dim": head_dim, "group": group}
                found = [one(rows, cache=cache, **shape) for cache in caches]
                body.append(
                    [threads, short(tokens), head_dim, group, *("" if row is None else f"{row['ns_best']:.2f}" for row in found)]
                )
    note = (
        "\n\nns per token and query head, every run cold. ggml's tensors lie head by head, where its kernel is fastest; `by token` is how "
        "llama.cpp's own cache lies."
    )
    return markdown(["threads", "context", "head_dim", "G", *map(name, caches)], body, 4) + note


def engine_ratio(rows: list[dict], **point: object) -> tuple[float, float, str] | None:
    """Ours, llama.cpp's best cache type, and its name, in tokens a second."""
    found = select(rows, **point)
    peers = [row for row in found if row["name"].startswith("llama.cpp")]
    ours = [row for row in found if not row["name"].startswith("llama.cpp")]
    if not peers or not ours:
        return None
    best = max(peers, key=lambda row: row["tokens_per_second"])
    return ours[0]["tokens_per_second"], best["tokens_per_second"], best["name"].removeprefix("llama.cpp ")


def engine(results: dict) -> str | None:
    rows = results["peers_engine"]
    if not rows:
        return None
    points = dict.fromkeys(
        (row["kind"], row["threads"], row.get("batch", 1), row.get("tokens", row.get("depth")))
        for row in rows
        if row["kind"] != "memory"
    )
    body = []
    for kind, threads, batch, length in sorted(points):
        where = {"kind": kind, "threads": threads} | ({"tokens": length} if kind == "prompt" else {"depth": length, "batch": batch})
        found = engine_ratio(rows, **where)
        if found is not None:
            ours, peer, cache = found
            body.append([kind, threads, batch, length, f"{ours:.0f}", f"{peer:.0f}", cache, ratio(ours / peer)])
    head = ["what", "threads", "sequences", "length or depth", "ours, tokens/s", "llama.cpp", "its best cache", "ratio"]
    memory = [[row["name"], f"{row.get('reported_bytes', row['added_bytes']) / 1e6:.1f}"] for row in select(rows, kind="memory")]
    length = max((row["tokens"] for row in select(rows, kind="memory")), default=0)
    text = markdown(head, body, 1)
    if memory:
        text += f"\n\nWhat a cache of {length} tokens adds to resident memory (ours: every byte that the cache counts):\n\n"
        text += markdown(["cache", "MB"], memory)
    return text


def quality(results: dict) -> str | None:
    rows = results["peers_quality"]
    body = []
    for row in rows:
        error = "" if row["kl_error"] is None else f"{row['kl_error']:.1e}"
        body.append([row["text"], row["name"], row["positions"], f"{row['kl_mean']:.2e}", error, f"{100 * row['same_top1']:.2f} %"])
    head = ["text", "arithmetic", "positions", "mean KL divergence", "standard error", "same top-1"]
    return markdown(head, body, 2) if body else None


def paper(results: dict) -> str | None:
    rows = results["paper"]
    if not rows:
        return None
    text = []
    for layer in unique(rows, "layer"):
        here = select(rows, layer=layer)
        lengths = sorted(unique(here, "tokens"))
        for what, unit, scale in (("encode_seconds", "encoding, ms", 1e3), ("decode_seconds", "decoding one token, ms", 1e3)):
            body = []
            for cache in unique(here, "cache"):
                found = [one(here, cache=cache, tokens=tokens) for tokens in lengths]
                body.append([name(cache), *("" if row is None else f"{row[what] * scale:.3g}" for row in found)])
            text.append(f"{layer}, {unit}:\n\n" + markdown(["cache", *map(short, lengths)], body))
    text.append(
        "One attention layer, one thread. Encoding is what the prompt's keys and values cost to put into the cache (exact: rounding to bf16); "
        "the prompt's own attention, the same for all, is not in it. The KIVI-like kernel is ours: 2 bits, 3.0 with its scales."
    )
    return "\n\n".join(text)
