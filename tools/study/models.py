"""Tables of `./dev study models`: the same codes on other models and at other lengths."""

from __future__ import annotations

from common import figures, table
from plots.results import Row, mean, short, standard_error, unique


def rows_table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        pages = row["kld_by_page"]
        change, error = 100 * (row["ppl"] / row["ppl_exact"] - 1), 100 * row["ppl_ratio_se"]
        lines.append(
            [
                f"`{row['cache']}`",
                f"{row['bits']:.2f} ({row['bits_sealed']:.2f})",
                f"{figures(mean(pages))} ± {figures(standard_error(pages), 2)}",
                f"{100 * row['same_top1']:.1f} ± {100 * row['same_top1_se']:.1f} %",
                f"{change:+.1f} ± {error:.1f} %",
            ]
        )
    return table(["cache", "bits (sealed)", "KL divergence", "same top-1", "perplexity"], lines)


def markdown(rows: list[Row]) -> str:
    parts = [
        f"Text: {', '.join(unique(rows, 'text'))}; the last {rows[0]['positions']} positions of each context scored, the tokens before them",
        "processed exactly; KL divergence to the exact cache in nats; ± is the standard error, over pages for the divergence.",
        "",
    ]
    for model in unique(rows, "model"):
        of_model = [row for row in rows if row["model"] == model]
        for context in sorted(unique(of_model, "context")):
            chosen = [row for row in of_model if row["context"] == context]
            parts += [
                f"## {model}, {short(context)} tokens",
                "",
                f"Perplexity of the exact cache {chosen[0]['ppl_exact']:.2f}; the arithmetic alone gives a divergence of "
                f"{max(row['floor_kld'] for row in chosen):.0e}.",
                "",
                rows_table(sorted(chosen, key=lambda row: (row["bits_sealed"], row["cache"]))),
            ]
    return "\n".join(parts)
