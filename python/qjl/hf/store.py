"""The memory behind a QJLCache: for each shape of layer one KvCache, in it one sequence for each row of the batch, and what all
layers of one cache share.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from qjl import InvalidArgument, KvCache
from qjl._core import PAGE_TOKENS
from qjl.hf import columns as col

if TYPE_CHECKING:
    from qjl.hf.layer import QJLLayer


class Store:
    """Layers of one shape: a KvCache, and `rows`, its sequences in the order of the batch (empty before the first tokens). `order`:
    which channel of the model stands where in the cache; None where they stand alike."""

    def __init__(self, kv: KvCache, rows: Iterable[int] = (), order: torch.Tensor | None = None) -> None:
        self.kv = kv
        self.rows = list(rows)
        self.order = order
        self._drop = weakref.finalize(self, _drop_all, kv, self.rows)

    def start(self, batch: int) -> None:
        if not self.rows:
            self.rows.extend(self.kv.create() for _ in range(batch))
        elif len(self.rows) != batch:
            raise InvalidArgument(f"[update] keys have batch {batch}, wanted {len(self.rows)}: the sequences that the cache holds")

    def forks(self, order: list[int]) -> list[int]:
        """New sequences with the tokens of rows order[i]: pages are shared, nothing is copied but open tails."""
        forks: list[int] = []
        try:
            for i in order:
                forks.append(self.kv.fork(self.rows[i]))
        except Exception:
            _drop_all(self.kv, forks)
            raise
        return forks

    def replace(self, rows: list[int]) -> None:
        _drop_all(self.kv, self.rows)
        self.rows.extend(rows)

    def truncate(self, lengths: list[int]) -> None:
        for row, length in zip(self.rows, lengths, strict=True):
            self.kv.truncate(row, length)

    def reserve(self, place: int, added: list[int]) -> None:
        """Takes the pages for `added` more tokens of every row in the layer at `place`. A page is of all layers of a KvCache, so the
        first of them to grow asks, and none can fail after another has grown."""
        for row, count in zip(self.rows, added, strict=True):
            length = self.kv.num_tokens(row, place)
            if length % PAGE_TOKENS + count >= PAGE_TOKENS:
                self.kv.reserve(row, length + count)

    def drop(self, rows: list[int]) -> None:
        _drop_all(self.kv, rows)

    def clear(self) -> None:
        _drop_all(self.kv, self.rows)

    def forked(self) -> Store:
        """The same rows over the same KvCache, for a copy of a cache."""
        return Store(self.kv, self.forks(list(range(len(self.rows)))), self.order)


def _drop_all(kv: KvCache, rows: list[int]) -> None:
    while rows:
        kv.drop(rows.pop())


_numbers = itertools.count(1)
sessions: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()


class Session:
    """What the layers of one cache share: its number for torch.ops.qjl.step, its stores, the last view of a mask, and where the
    stored columns stood before the forward pass that is running."""

    def __init__(self, stores: list[Store]) -> None:
        self.number = next(_numbers)
        sessions[self.number] = self
        self.state = torch.tensor([self.number, 0])  # which cache, and how often it was written: the op's order
        self.stores = stores
        self._by_idx: dict[int, weakref.ref[QJLLayer]] = {}
        self.compressed_tokens_read = 0
        self._committed: tuple[int, torch.Tensor | None] = (0, None)
        self._seen: tuple[Any, ...] = ()
        self._view = col.ALL

    def add(self, layer: QJLLayer) -> None:
        self._by_idx[layer.layer_idx] = weakref.ref(layer)

    def live(self) -> list[QJLLayer]:
        return [layer for known in self._by_idx.values() if (layer := known()) is not None]

    def layer(self, layer_idx: int) -> QJLLayer:
        known = self._by_idx.get(layer_idx)
        layer = None if known is None else known()
        if layer is None:
            raise InvalidArgument(f"[step] layer is {layer_idx}, wanted one of {[each.layer_idx for each in self.live()]}")
        return layer

    def begin(self, layer: QJLLayer) -> None:
        """Before new keys of `layer`, the first, are taken: what waited in any layer is stored, and the place is marked."""
        for each in self.live():
            each.flush()
        self._committed = (layer.columns, layer.shown)

    def rollback(self) -> None:
        """After an error: every layer holds what it held before this forward pass."""
        columns, shown = self._committed
        for layer in self.live():
            layer.restore(columns, shown)
        for store in self.stores:
            if columns == 0:
                store.clear()
            elif store.rows:
                store.truncate(col.counts(shown, columns, len(store.rows)))

    def view(self, mask: torch.Tensor | None, layer: QJLLayer, batch: int, chunk: int) -> col.View:
        """view_of, computed by the first layer that asks and kept for the others."""
        if mask is None and layer.shown is None:
            return col.ALL
        key = (mask, layer.shown, layer.columns, batch, chunk)
        known = len(self._seen) == len(key) and all(
            a is b or (type(a) is int and a == b) for a, b in zip(key, self._seen, strict=True)
        )
        if not known:
            self._view = col.view_of(mask, layer.shown, layer.columns, batch, chunk)
            self._seen = key
        return self._view
