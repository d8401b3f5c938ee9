"""The calls of one step. One does for all sequences, except in an evaluation: there no token may see more than decoding would show it.

A chunk that is attended to at once sees its own rows exactly, those of pages that it fills too. Cut where pages end, each token reads
sealed pages as they are coded and its own page exactly, as if it had come alone. Parts go by the page's place in a sequence: a
sequence may begin behind pages that another one fills in the same step, and these have a lower place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qjl._core import PAGE_TOKENS
from qjl.paged import Batch

Numbers = NDArray[np.integer]


@dataclass(frozen=True)
class Part:
    batch: Batch
    rows: Numbers | None = None  # of the step's tensors; None: all, as they stand


def whole(pages: Numbers, starts: Numbers, before: Numbers, slots: Numbers) -> list[Part]:
    """pages [sequences, pages], starts [sequences + 1], before [sequences] tokens, slots [sequences]: as of Batch."""
    return [Part(Batch(pages, starts, before, slots))]


def by_page(pages: Numbers, starts: Numbers, before: Numbers, slots: Numbers) -> list[Part]:
    """The same step in parts, none of which has tokens of two pages of one sequence."""
    after = before + np.diff(starts)
    first, last = before // PAGE_TOKENS, (after - 1) // PAGE_TOKENS
    if (first == last).all():
        return whole(pages, starts, before, slots)
    return [
        _part(pages, starts, before, slots, np.maximum(before, place * PAGE_TOKENS), np.minimum(after, (place + 1) * PAGE_TOKENS))
        for place in np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]))
    ]


def _part(pages: Numbers, starts: Numbers, before: Numbers, slots: Numbers, begin: Numbers, end: Numbers) -> Part:
    """Tokens [begin, end) of each sequence; of none where it ends before it begins."""
    own = np.flatnonzero(end > begin)
    rows = [np.arange(starts[i] + begin[i] - before[i], starts[i] + end[i] - before[i]) for i in own]
    counts = (end - begin)[own]
    return Part(Batch(pages[own], np.cumsum([0, *counts]), begin[own], slots[own]), np.concatenate(rows))
