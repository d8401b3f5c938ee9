"""Tables and the needle grid of `qjl study retrieval`: which facts of a long prompt a cache still finds."""

from __future__ import annotations

from pathlib import Path

from common import bold, table, wilson
from plots import look
from plots.results import Row, is_ours

ORDER_FIRST = ("f16",)


class Answers:
    """right[cache][(case, question)] -> 0 or 1, with the type, length and depth of each question."""

    def __init__(self, rows: list[Row]) -> None:
        self.right: dict[str, dict[tuple[str, int], int]] = {}
        self.about: dict[tuple[str, int], tuple[str, int, float]] = {}
        for row in rows:
            for i, right in enumerate(row["right"]):
                self.right.setdefault(row["cache"], {})[row["case"], i] = right
                self.about[row["case"], i] = (row["type"], row["length"], row["depth"][i])
        self.bits = {row["cache"]: row["bits_sealed"] for row in rows}
        self.caches = sorted(self.right, key=lambda c: (c not in ORDER_FIRST, self.bits[c], c))
        self.types = list(dict.fromkeys(kind for kind, _, _ in self.about.values()))
        self.lengths = sorted({length for _, length, _ in self.about.values()})

    def share(
        self, cache: str, kind: str | None = None, length: int | None = None, depth: float | None = None
    ) -> tuple[int, int, int, int]:
        """(right, asked, right where exact is right, exact right)."""
        wanted = (kind, length, depth)
        keys = [k for k, about in self.about.items() if all(w in (None, a) for w, a in zip(wanted, about, strict=True))]
        keys = [k for k in keys if k in self.right[cache] and k in self.right["f16"]]
        exact = [k for k in keys if self.right["f16"][k]]
        right = self.right[cache]
        return sum(right[k] for k in keys), len(keys), sum(right[k] for k in exact), len(exact)


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""


def kept_text(kept: int, exact: int) -> str:
    if not exact:
        return ""
    low, high = wilson(kept, exact)
    return f"{100 * kept / exact:.0f} % ({100 * low:.0f} - {100 * min(high, 1):.0f})"


def caches_table(answers: Answers) -> str:
    head = ["cache", "bits"]
    for kind in answers.types:
        head += [f"{kind}: right", "of exact's"]
    lines = []
    for cache in answers.caches:
        line = [bold(f"`{cache}`", is_ours(cache)), f"{answers.bits[cache]:.2f}"]
        for kind in answers.types:
            right, asked, kept, exact = answers.share(cache, kind)
            line += [f"{percent(right, asked)}", kept_text(kept, exact)]
        lines.append(line)
    return table(head, lines)


def lengths_table(answers: Answers) -> str:
    cells = [(kind, length) for kind in answers.types for length in answers.lengths if answers.share("f16", kind, length)[1]]
    head = ["cache", "bits"] + [f"{kind} {length / 1024:.3g}k" for kind, length in cells]
    lines = [["cases", ""] + [str(answers.share("f16", kind, length)[1]) for kind, length in cells]]
    for cache in answers.caches:
        shares = [answers.share(cache, kind, length) for kind, length in cells]
        lines.append([bold(f"`{cache}`", is_ours(cache)), f"{answers.bits[cache]:.2f}"] + [percent(s[0], s[1]) for s in shares])
    return table(head, lines)


def markdown(rows: list[Row]) -> str:
    answers = Answers(rows)
    counts = ", ".join(f"{answers.share('f16', kind)[1]} of type {kind}" for kind in answers.types)
    parts = [
        f"Questions about one fact in a long chat prompt, {counts}, answered greedily; an answer is right when every token of it is.",
        "The context is processed exactly, then read through the cache by the question and the answer. `right` is of all cases,",
        "`of exact's` of those that the exact cache answers, with the 95 % interval of the share.",
        "",
        "![share of right answers by length and depth](retrieval.svg)",
        "",
        caches_table(answers),
        "By length, right of all cases:",
        "",
        lengths_table(answers),
    ]
    return "\n".join(parts)


def draw(rows: list[Row], folder: Path) -> None:
    answers = Answers(rows)
    depths = sorted({depth for _, _, depth in answers.about.values()})
    columns = min(6, len(answers.caches))
    per_kind = -(-len(answers.caches) // columns)
    lines = per_kind * len(answers.types)
    figure, axes = look.start_picture(columns, lines, width=2.0 * columns, height=2.0 * lines)
    for i, axis in enumerate(axes.flat):
        kind, place = answers.types[i // (per_kind * columns)], i % (per_kind * columns)
        if place >= len(answers.caches):
            axis.set_axis_off()
            continue
        cache = answers.caches[place]
        grid = [[cell(answers, cache, kind, length, depth) for length in answers.lengths] for depth in depths]
        axis.imshow(grid, cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"{cache}, {kind}", fontsize=8, color=look.OURS if is_ours(cache) else "black")
        axis.set_xticks(range(len(answers.lengths)), [f"{length / 1024:.3g}k" for length in answers.lengths], fontsize=6)
        axis.set_yticks(range(len(depths)), [f"{100 * depth:.0f} %" for depth in depths], fontsize=6)
    look.save_picture(figure, folder / "retrieval.svg")


def cell(answers: Answers, cache: str, kind: str, length: int, depth: float) -> float:
    right, asked, _, _ = answers.share(cache, kind, length, depth)
    return right / asked if asked else float("nan")
