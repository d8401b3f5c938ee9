"""QJLCache: a cache of Transformers whose full-attention layers lie in compressed pages.

Only `full_attention` layers are compressed. Sliding, chunked, linear and shared layers keep Transformers' classes: they do not grow.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from typing import Any

import torch
from transformers.cache_utils import Cache

from qjl import CacheFile, InvalidArgument, KvCache, Unsupported
from qjl._core import PAGE_TOKENS
from qjl.cache import DEFAULT_MAX_TOKENS
from qjl.hf import columns as col
from qjl.hf import file as saved
from qjl.hf.config import Compressed, Shape, compressed_layers
from qjl.hf.layer import QJLLayer
from qjl.hf.plan import plan_of_layers
from qjl.hf.report import memory_report
from qjl.hf.store import Session, Store

TAILS = {torch.bfloat16: "bfloat16"}  # of a model's dtype; float16 for the others


class QJLCache(Cache):
    """A compressed cache for any decoder of Transformers.

    config       of the model
    cache        a cache type of qjl: "k3v2", "k4v4", "f16", ... ; plan: a file of `qjl plan` instead
    skip_layers  full-attention layers that stay exact
    max_tokens   the most tokens of all sequences together, a limit and no cost
    tail_dtype   of exact rows: "float16" or "bfloat16"; None: the model's own, float16 for float32
    threads      None: torch's own number

    Errors: InvalidArgument for unknown cache types and layers, Unsupported for models that cannot be compressed (no full-attention
    layer, an encoder, MLA, a head_dim that is not 64, 80, 96, 128 or 256).
    """

    def __init__(
        self,
        config: Any,
        cache: str = "k3v2",
        *,
        plan: Any = None,
        skip_layers: Iterable[int] = (),
        max_tokens: int = DEFAULT_MAX_TOKENS,
        tail_dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        layers, compressed = compressed_layers(config, list(skip_layers))
        if tail_dtype is None:
            tail_dtype = TAILS.get(_dtype(config), "float16")
        options = {"cache": cache, "plan": plan, "max_tokens": max_tokens, "tail_dtype": tail_dtype}
        options["threads"] = torch.get_num_threads() if threads is None else threads
        by_shape: dict[Shape, list[Compressed]] = {}
        for each in compressed:
            by_shape.setdefault(each.shape, []).append(each)
        stores = {shape: Store(_kv_cache(shape, members, len(layers), options)) for shape, members in by_shape.items()}
        self._fill(layers, compressed, Session(list(stores.values())), stores)
        self.layer_types = saved.types_of(config.get_text_config(decoder=True), len(layers))
        self.token_ids: list[list[int]] = []  # of a loaded file

    def _fill(self, layers: list[Any], compressed: list[Compressed], session: Session, stores: dict[Shape, Store]) -> None:
        places = dict.fromkeys(stores, 0)
        for each in compressed:
            place = places[each.shape]
            layer = QJLLayer(session, stores[each.shape], place, each.layer_idx, each is compressed[0], each.shared)
            places[each.shape] += 1
            layers[each.layer_idx] = layer
            session.add(layer)
        super().__init__(layers=layers)
        self.session = session
        self.rope_magnitudes = [each.rope.magnitude for each in compressed]  # of the keys in the cache

    def save(self, path: str | os.PathLike[str], *, token_ids: Any = None, model: str = "") -> None:
        """Writes the whole cache to one file, *.qjlkv.safetensors, which `load` and `qjl run --load-cache` go on with. The file is
        there whole or not at all.

        token_ids  [batch, columns or more]: the text, padding included; ids beyond the columns are those still to be processed
        model      its name

        Errors: InvalidArgument when the cache is empty or token_ids do not fit; Unsupported for layers of several shapes and for exact
        layers other than full and sliding attention; FileError.
        """
        saved.save(self, path, token_ids, model)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], config: Any, *, max_tokens: int = DEFAULT_MAX_TOKENS, threads: int | None = None
    ) -> QJLCache:
        """The cache of a saved file, for a model with that config. Pages are mapped and attended to in place. `token_ids` then holds
        those of the file, a list for each row.

        Errors: FileError; BadFile on what is damaged, truncated, foreign or of a later version; InvalidArgument on another model.
        """
        file = CacheFile(path)
        layers, whole = compressed_layers(config, [])
        types = saved.types_of(config.get_text_config(decoder=True), len(layers))
        saved.check_layer_types(file, types)
        note = saved.Note(file, _dtype(config) or torch.float32)
        kept = note.compressed
        layers, compressed = compressed_layers(
            config, [] if kept is None else [c.layer_idx for c in whole if c.layer_idx not in kept]
        )
        if len({each.shape for each in compressed}) != 1:
            raise Unsupported("[load] the layers of this model have several shapes, wanted one")
        shape = compressed[0].shape
        plain = {"cache": "f16", "plan": None, "max_tokens": PAGE_TOKENS, "tail_dtype": "float16", "threads": 1}
        file.check_model(_kv_cache(shape, compressed, len(layers), plain))
        saved.check_magnitudes(file, [each.rope.magnitude for each in compressed])
        kv = KvCache.load(file, max_tokens=max_tokens, threads=torch.get_num_threads() if threads is None else threads)
        rope = next((each.rope for each in compressed if each.rope.frequencies), compressed[0].rope)
        store = Store(kv, kv.sequences(), saved.channel_order(kv.rope_pairs, rope, shape.head_dim))
        cache = object.__new__(cls)
        cache._fill(layers, compressed, Session([store]), {shape: store})
        cache.layer_types, cache.token_ids = types, list(file.token_ids)
        for layer in cache.compressed:
            layer.resume(note.columns, note.shown, note.dtype)
        note.fill_exact(cache.layers, len(store.rows))
        return cache

    @property
    def compressed(self) -> list[QJLLayer]:
        return [layer for layer in self.layers if isinstance(layer, QJLLayer)]

    @property
    def exact(self) -> list[Any]:
        return [layer for layer in self.layers if not isinstance(layer, QJLLayer)]

    @property
    def compressed_tokens_read(self) -> int:
        """Tokens of sealed pages that were attended to, summed over rows and forward passes, counted in the first compressed layer."""
        return self.session.compressed_tokens_read

    def memory_report(self) -> dict[str, Any]:
        """Bytes by kind: compressed_layers and exact_layers (how many), compressed_bytes, exact_bytes (storage, not views), total,
        baseline_bytes (compressed layers at 16 bits a number, the others as they are) and ratio = baseline_bytes / total."""
        return memory_report(self)

    # -- changes of all layers at once

    def crop(self, tokens_to_remove: int) -> None:
        """Removes the last -tokens_to_remove columns; 0 only settles what is pending. Errors: InvalidArgument when it is positive or
        there are fewer columns; nothing is changed then."""
        self._settle()
        layers = self.compressed
        length = layers[0].length
        removed = -tokens_to_remove
        if not 0 <= removed <= length:
            raise InvalidArgument(f"[crop] tokens_to_remove is {tokens_to_remove}, wanted {-length} to 0")
        for layer in self.exact:
            layer.crop(tokens_to_remove)
        for layer in layers:
            waiting = 0 if layer.pending is None else layer.pending.tokens
            layer.cut_pending(min(removed, waiting))
            layer.flush()  # what is left of it was accepted
            layer.epoch += 1
        kept = length - removed
        if kept < layers[0].columns:
            shown = layers[0].shown
            for store in self.session.stores:
                store.truncate(col.counts(shown, kept, len(store.rows)))
            shown = None if shown is None else shown[:, :kept]
            for layer in layers:
                layer.restore(kept, shown)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row i becomes what row beam_idx[i] was."""
        self._select(beam_idx.tolist(), "reorder_cache", beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the rows that `indices` names, numbers or a mask."""
        batch = len(self.session.stores[0].rows)
        self._select(torch.arange(batch)[indices].tolist(), "batch_select_indices", indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times."""
        batch = len(self.session.stores[0].rows)
        self._select([i for i in range(batch) for _ in range(repeats)], "batch_repeat_interleave", repeats)

    def _settle(self) -> None:
        """Stores what waits in any layer, but for drafts, of which a crop may take some back."""
        for layer in self.compressed:
            if not layer.record_past:
                layer.flush()

    def _select(self, order: list[int], name: str, argument: Any) -> None:
        """Forks rows `order` of every store; the exact layers do the same by their own method `name`."""
        stores, layers = self.session.stores, self.compressed
        batch = len(stores[0].rows)
        if not batch or order == list(range(batch)):
            return
        wrong = [i for i in order if not 0 <= i < batch]
        if wrong or not order:
            raise InvalidArgument(f"[{name}] rows are {order}, wanted one or more of 0 to {batch - 1}")
        self._settle()
        forks: list[list[int]] = []
        try:
            for store in stores:
                forks.append(store.forks(order))
        except Exception:
            for store, rows in zip(stores, forks, strict=False):
                store.drop(rows)
            raise
        for store, rows in zip(stores, forks, strict=True):
            store.replace(rows)
        index = torch.tensor(order)
        shown = None if layers[0].shown is None else layers[0].shown[index]
        for layer in layers:
            layer.select_pending(index)
            layer.shown = shown
            layer.epoch += 1
        for layer in self.exact:
            getattr(layer, name)(argument)

    def __deepcopy__(self, memo: Any) -> QJLCache:
        """A cache with the same tokens that goes its own way: pages are shared, exact layers copied."""
        other = object.__new__(QJLCache)
        memo[id(self)] = other
        stores = {id(store): store.forked() for store in self.session.stores}
        session = Session(list(stores.values()))
        layers = [
            layer.copied(session, stores[id(layer.store)]) if isinstance(layer, QJLLayer) else copy.deepcopy(layer, memo)
            for layer in self.layers
        ]
        Cache.__init__(other, layers=layers)
        other.session = session
        other.layer_types, other.token_ids = self.layer_types, copy.deepcopy(self.token_ids)
        other.rope_magnitudes = self.rope_magnitudes
        return other


def _dtype(config: Any) -> torch.dtype | None:
    found = getattr(config, "dtype", None) or getattr(config.get_text_config(decoder=True), "dtype", None)
    return getattr(torch, found) if isinstance(found, str) else found


def _kv_cache(shape: Shape, members: list[Compressed], num_layers: int, options: dict[str, Any]) -> KvCache:
    """The KvCache of the layers of one shape. A plan speaks of every layer of the model: those of `members` are taken from it."""
    ropes: Any = [list(each.rope.frequencies) for each in members]
    if all(rope == ropes[0] for rope in ropes):
        ropes = ropes[0]
    pairs = {each.rope.pairs for each in members if each.rope.frequencies}
    plan = options["plan"]
    return KvCache(
        len(members),
        shape.kv_heads,
        shape.head_dim,
        **{**options, "plan": None if plan is None else plan_of_layers(plan, [each.layer_idx for each in members], num_layers)},
        rope=ropes or None,
        rope_pairs=pairs.pop() if pairs else "halves",
    )
