"""Variants of a job side by side: a round gives each a turn, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

REST_SECONDS = 0.02  # threads look for work a while before they sleep


@dataclass
class Variant:
    name: str
    turn: Callable[[], list[float]]  # seconds of each of its steps
    seconds: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        """The median, and how far the middle half of all steps lies apart, as a share of it."""
        median = statistics.median(self.seconds)
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return {"name": self.name, "seconds_median": median, "spread": (high - low) / median, "steps": len(self.seconds)}


def take_turns(variants: list[Variant], rounds: int) -> list[dict[str, object]]:
    for variant in variants:
        variant.turn()  # first touch of its memory and code
    for _ in range(rounds):
        for variant in variants:
            time.sleep(REST_SECONDS)
            variant.seconds += variant.turn()
    return [variant.row() for variant in variants]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def on_last_processor() -> Iterator[None]:
    """Where our programs stand when they use one thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
