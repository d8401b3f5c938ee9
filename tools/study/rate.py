"""Tables and pictures of `qjl study rate`: what a cache type costs in KL divergence, by bits, text and context."""

from __future__ import annotations

import math
from pathlib import Path

import plots.rate
from common import bold, figures, paired_ratio, table
from plots import look
from plots.rate import Rates
from plots.results import Row, is_ours, mean, standard_error

SAME_BUDGET = 1.0  # a rival may have so many bits more and be compared
PLANS = (("plan 2.25", "k2v2"), ("plan 2.7", "k3v2"), ("plan 3.25", "k3v3"), ("plan 3.25", "q4_0h"), ("plan 3.75", "k4v3"))


def main_context(rates: Rates) -> int:
    """The context of the tables that show one alone."""
    return 4096 if 4096 in rates.contexts else rates.contexts[0]


def paired_pages(rates: Rates, ours: str, theirs: str, context: int) -> tuple[list[float], list[float]]:
    both = [(rates.rows.get((ours, context, t)), rates.rows.get((theirs, context, t))) for t in rates.texts]
    both = [(a, b) for a, b in both if a and b]
    return [x for a, _ in both for x in a["kld_by_page"]], [x for _, b in both for x in b["kld_by_page"]]


def with_error(pages: list[float]) -> str:
    return f"{figures(mean(pages))} ± {figures(standard_error(pages), 2)}" if pages else ""


def perplexity_change(rows: list[Row]) -> str:
    change = math.exp(mean(math.log(row["ppl"] / row["ppl_exact"]) for row in rows)) - 1
    error = math.sqrt(sum(row["ppl_ratio_se"] ** 2 for row in rows)) / len(rows)
    return f"{100 * change:+.1f} ± {100 * error:.1f} %"


def caches_table(rates: Rates) -> str:
    head = ["cache", "bits"] + [f"KL divergence, {context // 1024}k" for context in rates.contexts]
    main = main_context(rates)
    head += [f"same top-1, {main // 1024}k", f"perplexity, {main // 1024}k"]
    lines = []
    for cache in rates.caches:
        rows = rates.of(cache, main)
        if not rows:
            continue
        line = [bold(f"`{cache}`", is_ours(cache)), f"{rates.bits[cache]:.2f}"]
        line += [with_error(rates.pages(cache, context)) for context in rates.contexts]
        line += [f"{100 * mean(row['same_top1'] for row in rows):.1f} %", perplexity_change(rows)]
        lines.append(line)
    return table(head, lines)


def texts_table(rates: Rates) -> str:
    lines = []
    for cache in rates.caches:
        pages = [rates.pages(cache, main_context(rates), text) for text in rates.texts]
        lines.append(
            [bold(f"`{cache}`", is_ours(cache)), f"{rates.bits[cache]:.2f}", *(figures(mean(p)) if p else "" for p in pages)]
        )
    return table(["cache", "bits", *rates.texts], lines)


def pairs(rates: Rates) -> list[tuple[str, str]]:
    """Each of our types with every rival of the same budget: not fewer bits than ours less 1 %, at most one more."""
    ours = [cache for cache in rates.caches if is_ours(cache)]
    rivals = [cache for cache in rates.caches if not is_ours(cache)]
    return [(a, b) for a in ours for b in rivals if rates.bits[a] * 0.99 <= rates.bits[b] <= rates.bits[a] + SAME_BUDGET]


def pairs_table(rates: Rates, compared: list[tuple[str, str]], head: tuple[str, str]) -> str:
    lines = []
    for ours, theirs in compared:
        line = [f"`{ours}`", f"`{theirs}`", f"{rates.bits[ours]:.2f}", f"{rates.bits[theirs]:.2f}"]
        for context in rates.contexts:
            a, b = paired_pages(rates, ours, theirs, context)
            if len(a) > 1:
                ratio, low, high = paired_ratio(a, b)
                line.append(f"{figures(ratio, 2)} ({figures(low, 2)} - {figures(high, 2)})")
            else:
                line.append("")
        won = [mean(rates.pages(ours, c, t)) < mean(rates.pages(theirs, c, t)) for c, t in both_scored(rates, ours, theirs)]
        lines.append([*line, f"{sum(won)} of {len(won)}"])
    columns = [*head, "bits", f"{head[1]}'s bits", *(f"ratio, {c // 1024}k" for c in rates.contexts), "texts and lengths won"]
    return table(columns, lines, left=2)


def both_scored(rates: Rates, ours: str, theirs: str) -> list[tuple[int, str]]:
    scored = [(c, t) for c in rates.contexts for t in rates.texts]
    return [(c, t) for c, t in scored if (ours, c, t) in rates.rows and (theirs, c, t) in rates.rows]


def markdown(rows: list[Row]) -> str:
    rates = Rates(rows)
    tokens = {(row["context"], row["text"]): row["tokens"] for row in rows}
    short = sorted({f"{text} has {n}" for (context, text), n in tokens.items() if n < context})
    floor = max(row["floor_kld"] for row in rows)
    parts = [
        f"Mean KL divergence to the exact cache in nats, over {len(rates.texts)} texts, the last {rows[0]['positions']} positions of each",
        "context scored, the tokens before them processed exactly; ± is the standard error over pages. Bits are those of a sealed",
        "page, everything counted. Ours are bold; all others but `paper` are simulated (their numbers decoded into an exact cache).",
        f"The arithmetic alone gives {floor:.0e}." + (f" At the longest context {', '.join(short)} tokens." if short else ""),
        "",
        "![bits against KL divergence](rate.svg)",
        "",
        caches_table(rates),
        f"By text, at {main_context(rates) // 1024}k:",
        "",
        texts_table(rates),
        f"Ours over rivals of at most {SAME_BUDGET:.0f} bit more: geometric mean over pages of the ratio of KL divergences, with its 95 %",
        "interval. Below 1 ours is closer to exact.",
        "",
        pairs_table(rates, pairs(rates), ("ours", "rival")),
        "Plans give each layer codes of its own, chosen from damages measured on four other texts (`examples/plans`); here against one",
        "code for all layers, and against 4.5 bits of `q4_0` after a Hadamard transform:",
        "",
        pairs_table(rates, [pair for pair in PLANS if set(pair) <= set(rates.caches)], ("plan", "other")),
    ]
    return "\n".join(parts)


def draw(rows: list[Row], folder: Path) -> None:
    look.save_picture(plots.rate.draw(rows), folder / "rate.svg")
