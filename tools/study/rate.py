"""Tables and pictures of `qjl study rate`: what a cache type costs in KL divergence, by bits, text and context."""

from __future__ import annotations

import math
from pathlib import Path

from common import Row, bold, figures, is_ours, mean, paired_ratio, save_picture, standard_error, start_picture, table

SAME_BUDGET = 0.75  # a rival may have so many bits more and be compared
PLANS = (("plan 2.25", "k2v2"), ("plan 2.7", "k3v2"), ("plan 3.25", "k3v3"), ("plan 3.25", "q4_0h"), ("plan 3.75", "k4v3"))


class Rates:
    """The rows by (cache, context, text); caches in order of their bits."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = {(row["cache"], row["context"], row["text"]): row for row in rows if row["cache"] != "f16"}
        self.bits = {row["cache"]: row["bits_sealed"] for row in rows if row["cache"] != "f16"}
        self.caches = sorted(self.bits, key=lambda cache: (self.bits[cache], cache))
        self.contexts = sorted({context for _, context, _ in self.rows})
        self.texts = list(dict.fromkeys(text for _, _, text in self.rows))
        self.main = 4096 if 4096 in self.contexts else self.contexts[0]

    def of(self, cache: str, context: int) -> list[Row]:
        found = (self.rows.get((cache, context, text)) for text in self.texts)
        return [row for row in found if row]

    def pages(self, cache: str, context: int, text: str | None = None) -> list[float]:
        return [x for row in self.of(cache, context) if text in (None, row["text"]) for x in row["kld_by_page"]]

    def paired_pages(self, ours: str, theirs: str, context: int) -> tuple[list[float], list[float]]:
        both = [(self.rows.get((ours, context, t)), self.rows.get((theirs, context, t))) for t in self.texts]
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
    head += [f"same top-1, {rates.main // 1024}k", f"perplexity, {rates.main // 1024}k"]
    lines = []
    for cache in rates.caches:
        rows = rates.of(cache, rates.main)
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
        pages = [rates.pages(cache, rates.main, text) for text in rates.texts]
        lines.append(
            [bold(f"`{cache}`", is_ours(cache)), f"{rates.bits[cache]:.2f}", *(figures(mean(p)) if p else "" for p in pages)]
        )
    return table(["cache", "bits", *rates.texts], lines)


def pairs(rates: Rates) -> list[tuple[str, str]]:
    """Each of our types with every rival of the same budget: not fewer bits than ours less 1 %, at most 0.75 more."""
    ours = [cache for cache in rates.caches if is_ours(cache)]
    rivals = [cache for cache in rates.caches if not is_ours(cache)]
    return [(a, b) for a in ours for b in rivals if rates.bits[a] * 0.99 <= rates.bits[b] <= rates.bits[a] + SAME_BUDGET]


def pairs_table(rates: Rates, compared: list[tuple[str, str]], head: tuple[str, str]) -> str:
    lines = []
    for ours, theirs in compared:
        line = [f"`{ours}`", f"`{theirs}`", f"{rates.bits[ours]:.2f}", f"{rates.bits[theirs]:.2f}"]
        for context in rates.contexts:
            a, b = rates.paired_pages(ours, theirs, context)
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
        f"By text, at {rates.main // 1024}k:",
        "",
        texts_table(rates),
        f"Ours over rivals of at most {SAME_BUDGET} bit more: geometric mean over pages of the ratio of KL divergences, with its 95 %",
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
    rates = Rates(rows)
    shown = [context for context in rates.contexts if any(rates.of(cache, context) for cache in rates.caches)]
    figure, axes = start_picture(columns=len(shown), width=4.6 * len(shown), height=4.8)
    for axis, context in zip(axes[0], shown, strict=True):
        draw_context(axis, rates, context)
    axes[0][0].set_ylabel("mean KL divergence to the exact cache (nats)")
    save_picture(figure, folder / "rate.svg")


def draw_context(axis, rates: Rates, context: int) -> None:
    scored = [(cache, rates.bits[cache], rates.pages(cache, context)) for cache in rates.caches]
    scored = [(cache, bits, mean(pages), standard_error(pages)) for cache, bits, pages in scored if len(pages) > 1]
    presets = [point for point in scored if is_ours(point[0])]
    axis.plot([p[1] for p in presets], [p[2] for p in presets], color="tab:red", lw=1.2, zorder=2)
    for cache, bits, kld, error in scored:
        colour = "tab:red" if is_ours(cache) else "0.35"
        axis.errorbar(bits, kld, yerr=error, fmt="o" if is_ours(cache) else "s", ms=4, color=colour, elinewidth=0.8, zorder=3)
        axis.annotate(cache, (bits, kld), (3, 3), textcoords="offset points", fontsize=7, color=colour)
    axis.set_yscale("log")
    axis.set_xlabel("bits per number, sealed")
    axis.set_title(f"{context // 1024}k tokens")
    axis.grid(alpha=0.25, which="both", lw=0.5)
