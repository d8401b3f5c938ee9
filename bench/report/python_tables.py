"""The cache in Transformers beside those of Transformers: the tables and targets that ./dev bench python fills."""

from __future__ import annotations

from collections.abc import Iterator

from tables import machine_name, markdown, one, ratio, select, short, unique

RIVAL = "DynamicCache, sdpa"
BINDING, KERNEL = "KvCache.step", "the same in C++"
PRODUCTS = "products alone"
LONG_STEP, DEEP_STEP = 4096, 7808

# dtype, depth, the least ratio to a DynamicCache
STEP_GOALS = [
    ("float32", 0, 0.95),
    ("float32", LONG_STEP, 1.4),
    ("float32", DEEP_STEP, 2.0),
    ("bfloat16", 0, 0.95),
    ("bfloat16", LONG_STEP, 3.0),
]
LAYER_GOAL, CALL_GOAL_US, THREADS_GOAL = 20.0, 15.0, 1.0


def seconds(row: dict | None) -> float | None:
    return None if row is None else row["seconds_median"]


def quotient(above: dict | None, below: dict | None) -> float | None:
    return above["seconds_median"] / below["seconds_median"] if above and below else None


def our_name(rows: list[dict]) -> str:
    """Our rows come first of their kind."""
    return rows[0]["name"]


def step_ratio(rows: list[dict], dtype: str, depth: int) -> float | None:
    here = select(rows, kind="step", dtype=dtype, depth=depth)
    return quotient(one(here, name=RIVAL), here[0] if here else None)


def call_microseconds(rows: list[dict]) -> float | None:
    """What a layer's call costs beyond the same work called from C++."""
    here = select(rows, kind="layer")
    kernel = one(here, name=KERNEL)
    return 1e6 * (here[0]["seconds_median"] - kernel["seconds_median"]) if kernel else None


def threads_ratio(rows: list[dict]) -> float | None:
    here = select(rows, kind="threads")
    return quotient(one(here, threads=1, own_threads=1), one(here, threads=2, own_threads=2))


def targets(results: dict) -> Iterator[tuple[str, float, float | None, bool]]:
    """what, target, found, whether the target is the most and not the least."""
    rows = results["python"]
    if not rows:
        return
    for dtype, depth, least in STEP_GOALS:
        yield f"step in Transformers vs DynamicCache, {dtype}, depth {depth}", least, step_ratio(rows, dtype, depth), False
    layer = select(rows, kind="layer")
    yield (
        "an attention layer vs DynamicCache and sdpa, 4k",
        LAYER_GOAL,
        quotient(one(layer, name=RIVAL), layer[0] if layer else None),
        False,
    )
    yield "a layer's call beyond the kernel, us", CALL_GOAL_US, call_microseconds(rows), True
    yield "two threads beside torch's own two vs one, depth 4096", THREADS_GOAL, threads_ratio(rows), False


def steps(rows: list[dict]) -> str:
    body = []
    for dtype in unique(rows, "dtype"):
        for depth in unique(select(rows, dtype=dtype), "depth"):
            here = select(rows, dtype=dtype, depth=depth)
            products = one(here, name=PRODUCTS)
            for row in here:
                share = "" if row is products or not products else f"{100 * quotient(products, row):.0f} %"
                vs_rival = ratio(quotient(one(here, name=RIVAL), row)) if row is not products else ""
                if row["name"] == "the program":
                    share = ""  # its products are others
                body.append(
                    [dtype, depth, row["name"], f"{1e3 * seconds(row):.2f}", f"{100 * row['spread']:.0f} %", vs_rival, share]
                )
    head = ["dtype", "depth", "cache", "ms a step", "spread", "vs DynamicCache, sdpa", "torch's products in it"]
    return markdown(head, body, 3)


def ceilings(rows: list[dict]) -> str:
    """What a cache without any cost would gain: a DynamicCache's step to its step at depth 0."""
    found = []
    for dtype in unique(rows, "dtype"):
        rival = select(rows, dtype=dtype, name=RIVAL)
        start = one(rival, depth=0)
        found += [f"{ratio(quotient(row, start))} in {dtype} at {row['depth']}" for row in rival if start and row is not start]
    return f"A cache that cost nothing would leave a step as long as at depth 0: {', '.join(found)}." if found else ""


def threads(rows: list[dict]) -> str:
    body = []
    for row in rows:
        own = "" if row["own_threads"] is None else row["own_threads"]
        single = next(other for other in rows if other["name"] == row["name"] and other["threads"] == 1)
        body.append(
            [
                row["name"],
                row["threads"],
                own,
                f"{1e3 * seconds(row):.2f}",
                f"{100 * row['spread']:.0f} %",
                ratio(quotient(single, row)),
            ]
        )
    return markdown(["cache", "torch's threads", "the cache's", "ms a step", "spread", "vs one thread"], body)


def layer(rows: list[dict]) -> str:
    kernel, rival = one(rows, name=KERNEL), one(rows, name=RIVAL)
    body = []
    for row in rows:
        beyond = f"{1e6 * (seconds(row) - seconds(kernel)):.1f}" if row["name"] in (our_name(rows), BINDING) else ""
        body.append([row["name"], f"{1e6 * seconds(row):.1f}", f"{100 * row['spread']:.0f} %", beyond, ratio(quotient(rival, row))])
    return markdown(["cache", "us a call", "spread", "beyond C++, us", "vs DynamicCache, sdpa"], body)


def transformers(results: dict) -> str | None:
    rows = results["python"]
    if not rows:
        return None
    parts = [f"Measured on: {machine_name(each)}." for each in select(rows, kind="machine")]
    if found := select(rows, kind="step"):
        parts.append(
            "One-token steps of SmolLM2-135M in Transformers on one thread, after so many tokens of a text; medians, with the spread of "
            "the middle half. Torch's other options stand beside its default: `eager`, and a StaticCache, which copies nothing when it "
            'grows and attends to all of its room behind a mask. "Products alone" are the matrix products of a step and nothing else: '
            "no cache makes a step shorter. The program (`qjl run`) has 4-bit weights and multiplies whole numbers.\n\n"
            + steps(found)
        )
        parts += filter(None, [ceilings(found)])
    if found := select(rows, kind="threads"):
        parts.append(f"Two threads beside one, fp32, depth {found[0]['depth']}:\n\n" + threads(found))
    if found := select(rows, kind="layer"):
        parts.append(
            f"The {found[0]['layers']} attention layers of a step alone, one after another, fp32, {short(found[0]['tokens'])} tokens; "
            "the mean of a layer: its update and attention as Transformers calls them; the binding alone; the same attend and append "
            "from C++; and torch's attention over keys and values that nobody has to grow.\n\n" + layer(found)
        )
    return "\n\n".join(parts)
