"""Reads the machine code of CUDA kernels: what a loop executes when nothing special happens.

A kernel's text comes from `cuobjdump -sass`. The common path through a loop is the one with the fewest instructions: masks, soft caps
and other exceptions are jumped over. Loops inside count as often as they run, and what one warp of the block does for all counts for
an eighth (duties).
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);")
BRANCH = re.compile(r"\bBRA\b(?!\.DIV).*?0x([0-9a-f]+)")


@dataclass(frozen=True)
class Kernel:
    """Instructions in the order of addresses."""

    address: list[int]
    text: list[str]

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, text) is not None for text in self.text)

    def target(self, i: int) -> int | None:
        """Number of the instruction that a branch goes to."""
        match = BRANCH.search(self.text[i])
        if not match:
            return None
        address = int(match[1], 16)
        return self.address.index(address) if address in self.address else None

    def part(self, first: int, last: int) -> Kernel:
        return Kernel(self.address[first : last + 1], self.text[first : last + 1])

    def loops(self) -> list[tuple[int, int]]:
        """(first, last) instruction of every loop, the last one jumps back."""
        targets = [(self.target(i), i) for i in range(len(self.text))]
        return [(to, i) for to, i in targets if to is not None and to < i]


def disassemble(cuobjdump: Path, file: Path, architecture: str) -> dict[str, Kernel]:
    """By mangled name. nvdisasm stands beside cuobjdump."""
    env = os.environ | {"PATH": f"{cuobjdump.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [cuobjdump, "-sass", "-arch", architecture, file]
    listing = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    kernels: dict[str, Kernel] = {}
    kernel = Kernel([], [])
    for line in listing.splitlines():
        if name := re.search(r"Function : (\S+)", line):
            kernel = kernels[name[1]] = Kernel([], [])
        elif match := LINE.match(line):
            kernel.address.append(int(match[1], 16))
            kernel.text.append(match[2])
    return kernels


def template_numbers(name: str) -> re.Match[str] | None:
    """The last two template numbers of a mangled attend_fragments_kernel."""
    return re.search(r"attend_fragments_kernel.*Li(\d+)ELi(\d)EEE", name)


def common_path(kernel: Kernel) -> int:
    """Fewest instructions from the first to the last one, every inner loop once."""
    last = len(kernel.text) - 1
    fewest: list[int | None] = [None] * (last + 1)  # from each instruction on; None does not reach the end
    for i in range(last, -1, -1):
        text, to = kernel.text[i], kernel.target(i)
        always = not text.startswith("@")
        after = [] if i == last or (always and (re.match(r"(BRA\b(?!\.DIV)|EXIT|RET)", text))) else [fewest[i + 1]]
        if to is not None and to > i:
            after.append(fewest[to])
        onward = min((found for found in after if found is not None), default=0 if i == last else None)
        fewest[i] = None if onward is None else onward + 1
    assert fewest[0] is not None, "no way through the loop"
    return fewest[0]


def page_loop(kernel: Kernel) -> Kernel:
    """The loop over steps of pages: the smallest one with its barriers and the products with weights."""
    inside = [kernel.part(*loop) for loop in kernel.loops()]
    steps = [part for part in inside if part.count(r"BAR\.SYNC") >= 2 and part.count(r"IMMA.*S8\.U8") > 0]
    return min(steps, key=lambda part: len(part.text))


@dataclass(frozen=True)
class Trips:
    """What the shape makes of loops: steps of keys."""

    key_steps: int


def inner_loops(loop: Kernel, trips: Trips) -> list[tuple[Kernel, float]]:
    """Loops inside a page loop and how often each runs. Loops back to a barrier are exceptions."""
    found = []
    for first, last in loop.loops():
        part = loop.part(first, last)
        if len(part.text) == len(loop.text) or part.count(r"BAR\.SYNC"):
            continue
        if part.count(r"IMMA") >= 8:
            found.append((part, float(trips.key_steps)))
    return found


# What one warp does for all eight: multiplies the last knots, asks for pages, plans a step.
DUTIES = (r"IMMA.*S8\.S8", r"UBLKPF", r"SHFL\.BFLY")


def duties(loop: Kernel) -> int:
    """Instructions of the block that some warps enter for the others' sake: the smallest guarded one that has all duties."""
    guarded = [(i + 1, to - 1) for i in range(len(loop.text)) if (to := loop.target(i)) is not None and to > i + 1]
    blocks = [loop.part(*block) for block in guarded]
    return min(len(block.text) for block in blocks if all(block.count(mark) for mark in DUTIES))


def instructions_a_page(kernel: Kernel, trips: Trips) -> float:
    """Of a warp and a page, in the common case, with its share of duties."""
    loop = page_loop(kernel)
    inner = sum((runs - 1) * common_path(part) for part, runs in inner_loops(loop, trips))
    return common_path(loop) + inner + duties(loop) / 8.0


def runs_of(loop: Kernel, pattern: str, trips: Trips) -> float:
    """How often instructions of a kind run for a page, wherever they stand in its loop."""
    return loop.count(pattern) + sum((runs - 1) * part.count(pattern) for part, runs in inner_loops(loop, trips))
