"""The speed targets beside what was measured: one row each, made from the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import python_tables
from tables import LONG, engine_ratio, markdown, one, select


@dataclass(frozen=True)
class Goal:
    what: str
    wanted: float
    found: float | None
    at_most: bool = False

    def row(self) -> list[str]:
        if self.found is None:
            return [self.what, f"{'<=' if self.at_most else '>='} {self.wanted:g}", "not measured", ""]
        holds = self.found <= self.wanted if self.at_most else self.found >= self.wanted
        return [self.what, f"{'<=' if self.at_most else '>='} {self.wanted:g}", f"{self.found:.3g}", "yes" if holds else "**no**"]


def attend_value(results: dict, key: str, cache: str, head_dim: int, group: int, tokens: int = LONG) -> float | None:
    row = one(results["kernels"], kind="attend", cache=cache, head_dim=head_dim, group=group, tokens=tokens, threads=1)
    return None if row is None else row.get(key)


# cache, head_dim, tokens, {G: target}
VS_EXACT = [
    ("k2v2", 128, LONG, {1: 6.5, 4: 3.2, 8: 1.8}),
    ("k3v2", 128, LONG, {1: 5.2, 4: 2.7, 8: 1.55}),
    ("k4v4", 128, LONG, {1: 3.2, 4: 2.7, 8: 1.5}),
    ("k3v2", 64, LONG, {1: 5.2, 3: 2.5}),
    ("k2v2", 64, LONG, {3: 2.8}),
    ("k3v2", 128, 4096, {1: 2.8, 4: 1.65, 8: 1.5}),
    ("k3v2", 64, 4096, {3: 1.35}),
]


def kernel_goals(results: dict) -> Iterator[Goal]:
    for cache in ("k2v2", "k3v2", "k4v4"):
        yield Goal(
            f"attend, share of stream, {cache}, d=128, G=1, 128k", 0.88, attend_value(results, "stream_share", cache, 128, 1)
        )
    for cache, head_dim, tokens, wanted in VS_EXACT:
        for group, number in wanted.items():
            where = f"{cache}, d={head_dim}, G={group}, {tokens >> 10}k"
            yield Goal(
                f"attend vs best exact bf16, {where}", number, attend_value(results, "vs_exact", cache, head_dim, group, tokens)
            )
    for group, number in {1: 5.5, 4: 4.0, 8: 3.0}.items():
        yield Goal(
            f"attend vs row-major bf16, k3v2, d=128, G={group}, 128k", number, attend_value(results, "vs_rows", "k3v2", 128, group)
        )
    for cache, number in {"k3v2": 200, "k2v2": 480}.items():
        row = one(results["kernels"], kind="encode", cache=cache, head_dim=128, threads=1)
        yield Goal(f"encode, ns a pair, {cache}, d=128", number, row and row["ns_best"], at_most=True)
    for cache in ("k2v2", "k3v2"):
        single = attend_value(results, "ns_best", cache, 128, 4)
        two = one(results["kernels"], kind="attend", cache=cache, head_dim=128, group=4, tokens=LONG, threads=2)
        yield Goal(f"two threads vs one, {cache}, d=128, G=4, 128k", 1.9, single / two["ns_best"] if single and two else None)
    yield Goal("AVX2 time / AVX-512 time, worst of all shapes, 128k", 2.2, worst_target(results, "avx2"), at_most=True)


def worst_target(results: dict, target: str) -> float | None:
    ratios = []
    for row in select(results["targets"], kind="attend", cpu_target=target):
        best = attend_value(results, "ns_best", row["cache"], row["head_dim"], row["group"], row["tokens"])
        if best and not row["cache"].startswith("exact"):
            ratios.append(row["ns_best"] / best)
    return max(ratios, default=None)


def worst_peer(results: dict, peers: tuple[str, ...], cache: str) -> float | None:
    """The least ratio over all shapes of the best of some of ggml's cache types to ours."""
    rows = results["peers_attend"]
    ratios = []
    for our in select(rows, cache=cache):
        same = {key: our[key] for key in ("threads", "tokens", "head_dim", "group")}
        times = [row["ns_best"] for peer in peers if (row := one(rows, cache=peer, **same)) is not None]
        if times:
            ratios.append(min(times) / our["ns_best"])
    return min(ratios, default=None)


def engine_speedup(results: dict, **point: object) -> float | None:
    found = engine_ratio(results["peers_engine"], **point)
    return None if found is None else found[0] / found[1]


def memory_ratio(results: dict, peer: str) -> float | None:
    rows = select(results["peers_engine"], kind="memory")
    ours = [row["reported_bytes"] for row in rows if "reported_bytes" in row]
    other = one(rows, name=f"llama.cpp {peer}")
    return ours[0] / other["added_bytes"] if ours and other else None


def peer_goals(results: dict) -> Iterator[Goal]:
    as_stored = worst_peer(results, ("ggml f16 by token",), "k3v2")
    yield Goal("attend vs llama.cpp's f16 as its cache lies, k3v2, worst shape", 10, as_stored)
    yield Goal("attend vs ggml f16 where it is fastest, k3v2, worst shape", 10, worst_peer(results, ("ggml f16",), "k3v2"))
    yield Goal("attend vs ggml's best quantised, k3v2, worst shape", 4, worst_peer(results, ("ggml q8_0", "ggml q4_0"), "k3v2"))
    for threads in (1, 2):
        for depth, number in {0: 1.5, 2048: 2.5, 7936: 5.0}.items():
            found = engine_speedup(results, kind="decode", depth=depth, batch=1, threads=threads)
            yield Goal(f"decode vs llama.cpp, depth {depth}, {threads} threads", number, found)
        for length, number in {512: 2.0, 7936: 3.0}.items():
            found = engine_speedup(results, kind="prompt", tokens=length, threads=threads)
            yield Goal(f"prompt vs llama.cpp, {length} tokens, {threads} threads", number, found)
        found = engine_speedup(results, kind="decode", depth=4096, batch=8, threads=threads)
        yield Goal(f"decode of 8 sequences vs llama.cpp, depth 4096, {threads} threads", 5.0, found)
    yield Goal("cache memory / llama.cpp f16, 8k", 0.2, memory_ratio(results, "f16"), at_most=True)
    yield Goal("cache memory / llama.cpp q4_0, 8k", 1.0, memory_ratio(results, "q4_0"), at_most=True)
    rows = results["peers_quality"]
    means = {name: mean([row["kl_mean"] for row in select(rows, name=name)]) for name in ("fast arithmetic", "llama.cpp f16")}
    yield Goal("fast arithmetic, mean KL divergence from fp32", 5e-3, means["fast arithmetic"], at_most=True)
    both = means["fast arithmetic"] is not None and means["llama.cpp f16"]
    yield Goal("the same / llama.cpp's", 1.0, means["fast arithmetic"] / means["llama.cpp f16"] if both else None, at_most=True)


def mean(numbers: list[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def goals_table(results: dict) -> str | None:
    goals = [*kernel_goals(results), *peer_goals(results), *(Goal(*each) for each in python_tables.targets(results))]
    return markdown(["what", "target", "measured", "holds"], [goal.row() for goal in goals], 1)
