"""A cache in NumPy: exact rows as float16, sealed pages by PageCodec, attention in float64. It shares no line with KvCache."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import qjl

Rows = Callable[..., np.ndarray]  # the fixture of that name

PAGE = 128
HALF_MAX = 65504.0


@dataclass
class Layer:
    """One layer of one sequence. Arrays are [kv_heads, tokens, head_dim]; pages hold (head, body) for each kv head."""

    codec: qjl.PageCodec
    sinks: int
    keys: np.ndarray  # of the open page
    values: np.ndarray
    pages: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    decoded: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    coded: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # the rows that each page was made of

    def __deepcopy__(self, memo: dict[int, object]) -> Layer:
        return Layer(self.codec, self.sinks, self.keys, self.values, list(self.pages), list(self.decoded), list(self.coded))

    @property
    def length(self) -> int:
        return PAGE * len(self.pages) + self.keys.shape[1]

    def append(self, keys: np.ndarray, values: np.ndarray) -> None:
        self.keys = np.concatenate([self.keys, keys.astype(np.float16)], axis=1)
        self.values = np.concatenate([self.values, values.astype(np.float16)], axis=1)
        while self.keys.shape[1] >= PAGE:
            self._seal()

    def _seal(self) -> None:
        keys, values = self.keys[:, :PAGE], self.values[:, :PAGE]
        sinks = 0 if self.pages else self.sinks
        page = [self.codec.encode(k, v, sinks) for k, v in zip(keys, values, strict=True)]
        rows = [self.codec.decode(*each) for each in page]
        whole = np.stack([k for k, _ in rows]), np.stack([v for _, v in rows])
        for numbers, exact in zip(whole, (keys, values), strict=True):
            numbers[:, :sinks] = exact[:, :sinks]
        self.pages.append(page)
        self.decoded.append(whole)
        self.coded.append((keys, values))
        self.keys, self.values = self.keys[:, PAGE:], self.values[:, PAGE:]

    def truncate(self, num_tokens: int) -> None:
        kept, rest = divmod(num_tokens, PAGE)
        if kept < len(self.pages):
            # What was lost when the page was sealed stays lost.
            rows = [np.clip(numbers[:, :rest], -HALF_MAX, HALF_MAX).astype(np.float16) for numbers in self.decoded[kept]]
            self.keys, self.values = rows
        else:
            self.keys, self.values = self.keys[:, :rest], self.values[:, :rest]
        del self.pages[kept:], self.decoded[kept:], self.coded[kept:]

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """All tokens as attend sees them, float32."""
        return self._joined(self.decoded)

    def uncoded(self) -> tuple[np.ndarray, np.ndarray]:
        """All tokens as they were before their pages were coded."""
        return self._joined(self.coded)

    def _joined(self, pages: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        keys, values = zip(*pages, (self.keys, self.values), strict=True)
        return np.concatenate(keys, axis=1, dtype=np.float32), np.concatenate(values, axis=1, dtype=np.float32)


@dataclass
class Sequence:
    layers: list[Layer]

    @staticmethod
    def empty(codec: qjl.PageCodec, sinks: int, num_layers: int, num_kv_heads: int) -> Sequence:
        none = np.zeros((num_kv_heads, 0, codec.head_dim), np.float16)
        return Sequence([Layer(codec, sinks, none, none) for _ in range(num_layers)])

    def fork(self) -> Sequence:
        return copy.deepcopy(self)

    @property
    def shortest(self) -> int:
        return min(layer.length for layer in self.layers)


def of_query_heads(rows: np.ndarray, heads: int) -> np.ndarray:
    return np.repeat(rows.astype(np.float64), heads // rows.shape[0], axis=0)


def logits_of(
    queries: np.ndarray, keys: np.ndarray, *, scale: float | None = None, soft_cap: float = 0.0, window: int | None = None
) -> np.ndarray:
    """queries [heads, n, d], which are the last n of the tokens of keys [kv_heads, tokens, d] -> [heads, n, tokens] in float64, -inf
    where a token is not seen."""
    heads, n, d = queries.shape
    tokens = keys.shape[1]
    k = of_query_heads(keys, heads)
    logits = queries.astype(np.float64) @ k.transpose(0, 2, 1) * (d**-0.5 if scale is None else scale)
    if soft_cap:
        logits = soft_cap * np.tanh(logits / soft_cap)
    own = np.arange(tokens - n, tokens)[:, None]
    seen = np.arange(tokens)[None, :] <= own
    if window is not None:
        seen &= np.arange(tokens)[None, :] > own - window
    return np.where(seen, logits, -np.inf)


def softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the log of the sum that they were divided by."""
    top = logits.max(axis=-1, keepdims=True)
    weights = np.exp(logits - top)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / total, (top + np.log(total))[..., 0]


def attend(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """With values [kv_heads, tokens, d] -> out [n, heads, d], lse [heads, n]. how: as in logits_of."""
    weights, lse = softmax(logits_of(queries, keys, **how))
    return (weights @ of_query_heads(values, queries.shape[0])).transpose(1, 0, 2), lse


def score_error(queries: np.ndarray, keys: np.ndarray, exact: np.ndarray, **how: Any) -> float:
    """The mean over queries of sum_t w_t (s_t - s'_t)^2: what coding keys does to the scores that count."""
    logits, others = logits_of(queries, keys, **how), logits_of(queries, exact, **how)
    seen = np.isfinite(logits)
    errors = np.where(seen, logits, 0.0) - np.where(seen, others, 0.0)
    return float(np.mean((softmax(logits)[0] * errors**2).sum(axis=-1)))


def bound(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, scale: float | None = None) -> tuple[float, float]:
    """How far out and lse in fp32 may be from those in float64. A logit is a sum of d products and is rotated before (4 d
    operations, each off by half a unit of 2^-23), so e = 4 d 2^-24 scale |q| |k|; lse moves by e, out by 2 e max|v|; sums over n
    tokens add n 2^-24 of what they hold."""
    d, tokens = queries.shape[-1], keys.shape[1]
    norms = np.linalg.norm(queries, axis=-1).max() * np.linalg.norm(keys, axis=-1).max()
    e = 4 * d * 2.0**-24 * norms * (d**-0.5 if scale is None else abs(scale))
    sums = (tokens + d) * 2.0**-24
    return float((2 * e + 2 * sums) * np.abs(values).max()), float(e + sums + 1e-6)
