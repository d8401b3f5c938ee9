"""TailPool: which slot of a worker's exact rows holds the open page of which sequence.

A page that is not full has its rows in a slot, from its first token until it is sealed, its memory is used anew, or its request ends.
vLLM tells a backend of blocks, not of requests, so that a slot is known by the page that its rows will be sealed to. A running
sequence has one open page at most: as many slots as sequences always suffice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qjl._core import PAGE_TOKENS
from qjl.errors import InvalidArgument, OutOfPages


@dataclass(frozen=True)
class Growth:
    """One sequence in one step: the physical pages of its tokens in order, and its tokens before and after."""

    pages: Sequence[int]
    before: int
    after: int


class TailPool:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = list(range(slots - 1, -1, -1))
        self._open: dict[int, int] = {}  # physical page -> slot
        self._step: list[int] | None = None

    @property
    def taken(self) -> int:
        return self.slots - len(self._free)

    def begin(self) -> None:
        """Before each step: the next call of `step` is that of a new one."""
        self._step = None

    def step(self, growths: Sequence[Growth]) -> list[int]:
        """The slot of each sequence while it grows: that of its open page, carried over to the next one, or a fresh one; -1 for one
        that begins and ends with whole pages. Errors: InvalidArgument when tokens of an open page have no slot, OutOfPages when the
        slots are taken; no sequence has moved then. Groups of layers with the same blocks ask in turn and get the same answer."""
        if self._step is None:
            self._step = self._taken(growths)
        return self._step

    def _taken(self, growths: Sequence[Growth]) -> list[int]:
        kept = [self._find(growth) for growth in growths]
        for growth in growths:  # whoever begins a page owns it: rows that it still has are those of a sequence that is gone
            self.give_back(growth.pages[-(-growth.before // PAGE_TOKENS) : -(-growth.after // PAGE_TOKENS)])
        fresh = sum(slot < 0 and growth.after % PAGE_TOKENS != 0 for slot, growth in zip(kept, growths, strict=True))
        if fresh > len(self._free):
            raise OutOfPages(
                f"[vllm] {fresh} sequences begin a page, {len(self._free)} of {self.slots} slots for its rows are free"
            )
        slots = [self._moved(growth, slot) for growth, slot in zip(growths, kept, strict=True)]
        # Only now: rows of a page that is sealed in this step are still read in it.
        self._free.extend(
            slot for growth, slot in zip(growths, slots, strict=True) if slot >= 0 and growth.after % PAGE_TOKENS == 0
        )
        return slots

    def give_back(self, pages: Iterable[int]) -> None:
        """The owner of these pages is gone; sealed ones, which have no slot, may be among them."""
        for page in pages:
            slot = self._open.pop(page, None)
            if slot is not None:
                self._free.append(slot)

    def _find(self, growth: Growth) -> int:
        held = growth.before % PAGE_TOKENS
        if held == 0:
            return -1
        page = growth.pages[growth.before // PAGE_TOKENS]
        if page not in self._open:
            raise InvalidArgument(f"[vllm] page {page} holds {held} tokens, wanted a slot with their rows: it has none")
        return self._open[page]

    def _moved(self, growth: Growth, slot: int) -> int:
        if slot >= 0:
            del self._open[growth.pages[growth.before // PAGE_TOKENS]]
        if growth.after % PAGE_TOKENS:
            slot = self._free.pop() if slot < 0 else slot
            self._open[growth.pages[growth.after // PAGE_TOKENS]] = slot
        return slot


class Leavers:
    """Requests whose blocks are no longer theirs. The blocks of a preempted one may have new owners when it ends at last."""

    def __init__(self) -> None:
        self._preempted: set[str] = set()

    def of_step(self, finished: Iterable[str], preempted: Iterable[str], scheduled: Iterable[str]) -> set[str]:
        """Those that left their blocks before this step."""
        preempted = set(preempted)
        gone = preempted | (set(finished) - self._preempted)
        self._preempted |= preempted
        self._preempted.difference_update(finished, scheduled)
        return gone
