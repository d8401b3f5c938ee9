"""docs/results/serve.md from the rows of serve.jsonl."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable

Rows = list[dict]
CLIENTS = (1, 8, 32)

# What the project set itself, ours over theirs. (part, case, file) -> by clients.
SPEED_GOALS = {
    ("A", "distinct", "Q4_1"): {1: 2, 8: 3, 32: 3},
    ("B", "warm", "Q4_1"): {1: 3.5, 8: 6, 32: 6},
    ("C", "distinct", "Q4_1"): {1: 5, 8: 5, 32: 5},
    ("A", "distinct", "Q4_0"): {1: 1.5, 8: 2.5, 32: 2.5},
    ("B", "warm", "Q4_0"): {1: 3.5, 8: 6, 32: 6},
    ("C", "distinct", "Q4_0"): {1: 2.5, 8: 2.5, 32: 2.5},
}
COLD_GOALS = {1: 1 / 5, 8: 1 / 25, 32: 1 / 60}
MEMORY_GOALS = {("f16", 8): 1 / 3.5, ("f16", 32): 1 / 4, ("q4_0", 8): 0.75, ("q4_0", 32): 0.7}
NAMES = {
    "A": "A: distinct prompts of 512 tokens, 128 out",
    "B": "B: one prefix of 4096 tokens, 32 of one's own, 128 out",
    "C": "C: distinct prompts of 4096 tokens, 64 out",
}


def pick(rows: Rows, **key: object) -> Rows:
    return [row for row in rows if all(row.get(name) == value for name, value in key.items())]


def median(rows: Iterable[dict], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def verdict(holds: bool) -> str:
    return "yes" if holds else "**no**"


def best_peer(rows: Rows, key: Callable[[Rows], float]) -> Rows:
    """The rows of the cache type of llama-server that is best by `key` (greatest)."""
    by_cache: dict[str, Rows] = {}
    for row in pick(rows, server="llama.cpp"):
        by_cache.setdefault(row["cache"], []).append(row)
    return max(by_cache.values(), key=key)


def load_cases(rows: Rows) -> Iterable[tuple[tuple[str, str, str], int, Rows, Rows]]:
    """(part, case, file), clients, our rows, those of the best of theirs."""
    for part, case in (("A", "distinct"), ("B", "cold"), ("B", "warm"), ("C", "distinct")):
        for file in ("Q4_1", "Q4_0"):
            for clients in sorted({row["clients"] for row in pick(rows, part=part, case=case, file=file)}):
                found = pick(rows, part=part, case=case, file=file, clients=clients)
                ours = pick(found, server="qjl")
                if not ours or not pick(found, server="llama.cpp"):
                    continue
                word, sign = ("first_last", -1) if case == "cold" else ("tokens_per_second", 1)
                theirs = best_peer(found, lambda each, word=word, sign=sign: sign * median(each, word))
                yield (part, case, file), clients, ours, theirs


def goals_table(rows: Rows) -> list[str]:
    lines = ["| what | file | clients | qjl | llama-server | ratio | goal | holds |", "|---|---|--:|--:|--:|--:|--:|---|"]
    for (part, case, file), clients, ours, theirs in load_cases(rows):
        name = f"{part} {case}" if part == "B" else part
        if case == "cold":
            a, b = median(ours, "first_last"), median(theirs, "first_last")
            goal = COLD_GOALS.get(clients) if file == "Q4_1" else None
            ends = f"1/{1 / goal:.0f} | {verdict(a / b <= goal)}" if goal else "| "
            what = f"{name}, last first token, s"
            lines.append(f"| {what} | {file} | {clients} | {a:.2f} | {b:.2f} ({theirs[0]['cache']}) | 1/{b / a:.1f} | {ends} |")
            continue
        a, b = median(ours, "tokens_per_second"), median(theirs, "tokens_per_second")
        goal = SPEED_GOALS[(part, case, file)].get(clients)
        ends = f"{goal} | {verdict(a / b >= goal)}" if goal else "| "
        lines.append(f"| {name}, tokens/s | {file} | {clients} | {a:.1f} | {b:.1f} ({theirs[0]['cache']}) | {a / b:.2f} | {ends} |")
    return lines + memory_lines(rows)


def memory_lines(rows: Rows) -> list[str]:
    lines = []
    for file in ("Q4_1", "Q4_0"):
        for clients in CLIENTS[1:]:
            found = pick(rows, part="C", file=file, clients=clients)
            ours = pick(found, server="qjl")
            for cache in ("f16", "q4_0"):
                theirs = pick(found, server="llama.cpp", cache=cache)
                if not ours or not theirs:
                    continue
                a, b = (max(row["peak_bytes"] - row["file_bytes"] for row in each) / 1e6 for each in (ours, theirs))
                goal = MEMORY_GOALS[cache, clients]
                lines.append(
                    f"| C, largest memory above the weights, MB | {file} | {clients} | {a:.0f} | {b:.0f} ({cache}) | {a / b:.2f} | "
                    f"{goal:.2f} | {verdict(a / b <= goal)} |"
                )
    return lines


def load_table(rows: Rows) -> list[str]:
    lines = []
    for part, name in NAMES.items():
        found = [row for row in pick(rows, part=part) if row["case"] != "memory"]
        if not found:
            continue
        lines += ["", f"### {name}", ""]
        lines += [
            "| file | clients | case | server | tokens/s | first token, s: median, 95 %, last | gap, ms: median, 99 % | tokens computed | peak, MB |"
        ]
        lines += ["|---|--:|---|---|--:|--:|--:|--:|--:|"]
        keys = sorted({(r["file"], r["clients"], r["case"], r["server"] != "qjl", r["server"], r["cache"]) for r in found})
        for file, clients, case, _, server, cache in sorted(keys, key=lambda key: (key[0] != "Q4_1", *key[1:])):
            each = pick(found, file=file, clients=clients, case=case, server=server, cache=cache)
            first = ", ".join(f"{median(each, word):.2f}" for word in ("first_median", "first_p95", "first_last"))
            gap = ", ".join(f"{1e3 * median(each, word):.1f}" for word in ("gap_median", "gap_p99"))
            lines.append(
                f"| {file} | {clients} | {case} | {server} {cache} | {median(each, 'tokens_per_second'):.1f} | {first} | {gap} | "
                f"{median(each, 'computed'):.0f} | {max(row['peak_bytes'] for row in each) / 1e6:.0f} |"
            )
    return lines


def single_table(rows: Rows) -> list[str]:
    lines = ["| what | measured | goal | holds |", "|---|--:|--:|---|"]

    def add(what: str, measured: str, goal: str, holds: bool | None) -> None:
        lines.append(f"| {what} | {measured} | {goal} | {'' if holds is None else verdict(holds)} |")

    for cache, goal in (("k3v2", 26), ("f16", None)):
        if found := pick(rows, part="hold", cache=cache):
            count = found[-1]["contexts"]
            add(
                f"contexts of 4k in --cache-mb 512, {cache}",
                str(count),
                f">= {goal}" if goal else "",
                count >= goal if goal else None,
            )
    for clients, goal, what in ((1, 0.95, "`qjl run`"), (8, 0.92, "the engine benchmark")):
        if found := pick(rows, part="decode", clients=clients):
            ours, engine = median(found, "tokens_per_second"), median(found, "engine")
            name = f"decode, {clients} client{'s' if clients > 1 else ''}, over {what}"
            add(name, f"{ours:.0f} / {engine:.0f} tokens/s = {ours / engine:.3f}", f">= {goal}", ours / engine >= goal)
    for case, goal in (("", 0.1), ("--reproducible", 0.2)):
        if found := pick(rows, part="prefix", case=case):
            warm, cold = median(found, "warm"), median(found, "cold")
            name = f"first token behind a prefix of 4000 tokens, warm over cold{', ' + case if case else ''}"
            add(name, f"{warm:.3f} / {cold:.3f} s = {warm / cold:.3f}", f"<= {goal}", warm / cold <= goal)
    for row in pick(rows, part="gaps"):
        share = row["gap_p99"] / row["pass_seconds"]
        is_ours = row["server"] == "qjl"
        name = f"7 streams while 8k are read, 99 % gap over the last pass alone, {row['server']} {row['cache']}"
        add(
            name,
            f"{row['gap_p99']:.2f} / {row['pass_seconds']:.2f} s = {share:.2f}",
            "<= 1.5" if is_ours else "",
            share <= 1.5 if is_ours else None,
        )
    plain, same = (pick(rows, part="reproducible", case=case) for case in ("default", "--reproducible"))
    if plain and same:
        a, b = median(same, "tokens_per_second"), median(plain, "tokens_per_second")
        add("--reproducible, part A's 8 clients, of the throughput without", f"{a:.1f} / {b:.1f} tokens/s = {a / b:.3f}", "", None)
    return lines


def restart_table(rows: Rows) -> list[str]:
    found = pick(rows, part="restart")
    if not found:
        return []
    lines = ["", "### A restart with a saved prefix", "", "Loading the model is not counted; restoring the slot is.", ""]
    lines += ["| server | tokens | bytes on disk | read at first, s | first token after the restart, s |", "|---|--:|--:|--:|--:|"]
    for row in found:
        lines.append(
            f"| {row['server']} {row['cache']} | {row['tokens']} | {row['bytes']:,} | {row['cold']:.2f} | {row['first']:.3f} |"
        )
    return lines


def chunk_table(rows: Rows) -> list[str]:
    found = pick(rows, part="chunk")
    if not found:
        return []
    chunks = sorted({row["chunk"] for row in found if row["chunk"]})
    lines = ["", "### Damage against --chunk", ""]
    lines += [
        "KL divergence of k3v2 from f16, nats, at 1024 positions behind 2560 tokens. The text is read in chunks (`POST /cache/damage`):"
    ]
    lines += [
        "a chunk attends exactly to itself and to compressed pages before. Last: 2560 tokens in one pass, then pages (`qjl eval`)."
    ]
    lines += ["", "| text | " + " | ".join(map(str, chunks)) + " | whole prompt |", "|---|" + "--:|" * (len(chunks) + 1)]
    for name in dict.fromkeys(row["case"] for row in found):
        each = [pick(found, case=name, chunk=chunk) for chunk in (*chunks, 0)]
        lines.append(f"| {name} | " + " | ".join(f"{median(rows, 'kl'):.4f}" if rows else "" for rows in each) + " |")
    return lines


HEAD = """# The server beside llama-server

Written by `./dev bench-serve` from the rows in [serve.jsonl](serve.jsonl), which it appends to as they are measured. Machine: {machine},
two threads. The model is SmolLM2-135M-Instruct: the shipped file (Q4_1), and the same requantised to Q4_0 by llama.cpp's own quantiser,
for which llama.cpp has repacked kernels. llama-server is compiled for this processor from the sources in llama-cpp-python 0.3.36 and runs
with `-fa on --kv-unified -b 512 -ub 512 -np CLIENTS --cache-ram 0` and as much context as the clients need. At one client its cache types
f16, q8_0 and q4_0 are measured; more clients get the one that was fastest there. Ours is k3v2 with `--chunk 512` and as much `--cache-mb`
as the clients need. Greedy streams over connections of their own, all sent at once, `ignore_eos`; both servers take turns, round by
round; medians of rounds. Memory is the largest resident size less the size of the model's file.
"""


def page(rows: Rows) -> str:
    rows = [row for row in rows if row.get("case") != "complete"]
    if not rows:
        return HEAD.format(machine="none yet") + "\nNothing is measured yet.\n"
    rows = pick(rows, machine=rows[-1]["machine"])  # the last one that measured
    lines = [HEAD.format(machine=rows[-1]["machine"])]
    lines += [
        "## Goals",
        "",
        *goals_table(rows),
        "",
        "## By itself",
        "",
        *single_table(rows),
        *restart_table(rows),
        *chunk_table(rows),
    ]
    lines += ["", "## Every case", *load_table(rows)]
    return "\n".join(lines) + "\n"
