"""The same numbers give the bytes of the C++ library: those that tests/golden/golden_test.cpp pins."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import qjl

ROOT = Path(__file__).resolve().parents[2]
HEAD_DIMS = (64, 80, 96, 128, 256)
MASK = 2**64 - 1


def pinned() -> dict[str, list[int]]:
    """Cache type -> a hash for each of HEAD_DIMS."""
    text = (ROOT / "tests/golden/golden_test.cpp").read_text(encoding="utf-8")
    lines = re.findall(r'^\s*\{"(\w+)", \{((?:0x[0-9a-f]+(?:, )?){5})\}\},$', text, re.MULTILINE)
    return {name: [int(word, 16) for word in words.split(", ")] for name, words in lines}


class Integers:
    """The generator of tests/support/test_rows.hpp: x' = 6364136223846793005 x + 1442695040888963407 mod 2^64, top bits out."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def bits(self, count: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return self.state >> (64 - count)

    def bell(self) -> float:
        return (2.0 + sum(self.bits(8) - 128 for _ in range(4))) / 147.8

    def lifelike(self, tokens: int, d: int) -> np.ndarray:
        offset = [self.bell() for _ in range(d)]
        out = np.empty((tokens, d))
        for token in range(tokens):
            length = 0.5 + self.bits(8) / 128.0
            for c in range(d):
                out[token, c] = offset[c] + length * (4.0 if c % 37 == 5 else 1.0) * self.bell()
        return out.astype(np.float16)


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


@pytest.fixture(scope="module", params=[64, 256])
def golden_rows(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    random = Integers(20240605)
    return random.lifelike(128, request.param), random.lifelike(128, request.param)


def test_the_table_was_found() -> None:
    assert len(pinned()) == 8


@pytest.mark.parametrize("cache", list(pinned()))
def test_pages_have_the_bytes_of_the_library(cache: str, golden_rows: tuple[np.ndarray, np.ndarray]) -> None:
    keys, values = golden_rows
    d = keys.shape[1]
    wanted = pinned()[cache][HEAD_DIMS.index(d)]
    rope = [1e4 ** (-i / (d // 2)) for i in range(d // 2)]

    head, body = qjl.PageCodec(d, cache, rope=rope).encode(keys, values, 4)
    assert fnv1a(head + body) == wanted

    # In a cache, in pieces, as the second layer and the second kv head, from float32.
    other = np.zeros_like(keys)
    both = [np.stack([other, rows]).astype(np.float32) for rows in (keys, values)]
    kv = qjl.KvCache(2, 2, d, f"{cache}:sinks=4", rope=rope)
    sequence = kv.create()
    for first, last in ((0, 1), (1, 100), (100, 128)):
        kv.append(sequence, 1, both[0][:, first:last], both[1][:, first:last])
    assert fnv1a(b"".join(kv.page(sequence, 1, 1, 0))) == wanted
    assert len(head + body) == kv.page_bytes(1)
