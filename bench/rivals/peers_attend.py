"""ggml's flash attention on the shapes of our kernels, interleaved with ours and the exact rivals; every run cold."""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
from ggml_attention import TYPES, GgmlAttention, Layout, Shape, check_f16, load_ggml
from rows import RowFile
from served import Served

SHAPES = [(128, 1), (128, 4), (128, 8), (64, 1), (64, 3)]  # head_dim, query heads per kv head
KV_HEADS = 8
OURS = ["exact_pairs", "exact_rows", "k2v2", "k3v2", "k4v4"]
ROUNDS = 4
EVICT_BYTES = 96 << 20  # more than a core's share of any last level cache
# ggml keeps its sums in fp16 here: 2^-11 for each of a chain of additions, a random walk of sqrt(256) steps.
F16_ERROR_BOUND = 16 * 2.0**-11


def pin(threads: int) -> None:
    """On the last processor for one thread, as our programs stand; anywhere for more."""
    processors = sorted(ALL_PROCESSORS)
    os.sched_setaffinity(0, processors[-1:] if threads == 1 else processors)


ALL_PROCESSORS = os.sched_getaffinity(0)


class Ggml:
    """Cases of ggml as rivals; the evicting buffer is read before each run."""

    def __init__(self) -> None:
        self.library = load_ggml()
        self.other = np.zeros(EVICT_BYTES // 8, np.int64)
        self.error = check_f16(self.library)
        if self.error > F16_ERROR_BOUND:
            raise RuntimeError(f"ggml's f16 attention is off by {self.error}, at most {F16_ERROR_BOUND} was expected")

    def cases(self, shape: Shape, threads: int) -> dict[str, GgmlAttention]:
        cases = {f"ggml {kind}": GgmlAttention(self.library, kind, Layout.HEADS, shape, threads) for kind in TYPES}
        cases["ggml f16 by token"] = GgmlAttention(self.library, "f16", Layout.TOKENS, shape, threads)
        return cases

    def run(self, case: GgmlAttention) -> float:
        self.other.sum()
        return case.run()


def measure(ggml: Ggml, ours: Served, shape: Shape, threads: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    cases = ggml.cases(shape, threads)
    seconds: dict[str, list[float]] = {name: [] for name in [*cases, *OURS]}
    size = {name: case.bytes for name, case in cases.items()}
    for case in cases.values():
        case.run()
    for _ in range(ROUNDS):
        for name, case in cases.items():
            seconds[name].append(ggml.run(case))
        time.sleep(0.01)  # ggml's threads look for work a while before they sleep
        for name in OURS:
            answer = ours.ask(
                cache=name,
                head_dim=shape.head_dim,
                kv_heads=shape.kv_heads,
                group=shape.group,
                tokens=shape.tokens,
                threads=threads,
            )
            seconds[name].append(answer["seconds"])
            size[name] = answer["bytes"]
    return seconds, size


def bench_attend(options: argparse.Namespace) -> None:
    rows = RowFile(options.out)
    contexts = options.tokens or [4096, 32768]
    with Served([options.build / "qjl_bench", "serve"]) as ours:
        ggml = Ggml()
        for threads in options.threads:
            pin(threads)
            for head_dim, group in SHAPES:
                for tokens in contexts:
                    shape = Shape(head_dim, KV_HEADS, group, tokens)
                    seconds, size = measure(ggml, ours, shape, threads)
                    units = tokens * KV_HEADS * group
                    for name, times in seconds.items():
                        rows.add(
                            kind="peers_attend",
                            cache=name,
                            head_dim=head_dim,
                            group=group,
                            tokens=tokens,
                            threads=threads,
                            ns_best=min(times) / units * 1e9,
                            ns_median=statistics.median(times) / units * 1e9,
                            bytes=size[name],
                            ggml_f16_error=ggml.error,
                        )
                    rows.flush()
