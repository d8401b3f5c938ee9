"""QJLLayer: one full-attention layer of a QJLCache.

    columns    [ sealed pages | exact rows | pending chunk ]        of every row of the batch, less what a mask hides

`update` keeps new keys and values as the pending chunk and returns handles. The attention function then attends to pages, exact rows
and chunk in one step and stores the chunk; a chunk that was only read by another attention function is stored by the next update.
While the cache records the past (assisted decoding) a chunk stays pending until the next `update` or `crop`, so that a rejected
draft never seals a page. Where later layers attend to the same keys and values (Gemma 3n), it stays until the next `update` for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch
from transformers.cache_utils import CacheLayerMixin

from qjl import InvalidArgument, Unsupported
from qjl._core import PAGE_TOKENS
from qjl.hf import columns as col
from qjl.hf import step
from qjl.hf.handles import handles
from qjl.hf.store import Session, Store


class Chunk:
    """Keys and values that are not stored yet, [batch, kv_heads, tokens, head_dim], and what the mask showed of them: None while no
    attention function of ours has seen it, which stores every column."""

    __slots__ = ("batch", "keys", "tokens", "values", "view")

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, view: col.View | None = None) -> None:
        self.keys, self.values, self.view = keys, values, view
        self.batch, _, self.tokens, _ = keys.shape


class Softmax(NamedTuple):
    """How a layer attends. scale 0: 1 / sqrt(head_dim); soft_cap 0, window 0, sinks None: none."""

    scale: float = 0.0
    soft_cap: float = 0.0
    window: int = 0
    sinks: torch.Tensor | None = None  # [query_heads]: a logit that takes part in every sum and has no value


is_compiling = torch.compiler.is_compiling


class QJLLayer(CacheLayerMixin):
    is_compileable = False
    is_croppable = True
    is_sliding = False
    supports_early_init = False
    _layer_type = None

    def __init__(self, session: Session, store: Store, place: int, layer_idx: int, is_first: bool, is_shared: bool) -> None:
        super().__init__()
        self.session, self.store = session, store
        self.place, self.layer_idx = place, layer_idx  # in the KvCache, in the model
        self.is_first = is_first  # of the compressed layers
        self.is_shared = is_shared  # later layers attend to it too
        self.shape = (store.kv.num_kv_heads, store.kv.head_dim)
        self.record_past = False
        self.epoch = 0  # grows when columns move, so that old handles are known
        self.length = 0  # columns, pending ones included; traced by torch.compile, so that nothing else may depend on it there
        self.columns = 0  # columns behind the pending chunk
        self.shown: torch.Tensor | None = None  # [batch, columns] bool: which of them are stored; None: all
        self.pending: Chunk | None = None
        self.dtype = torch.float32

    def __repr__(self) -> str:
        return f"QJLLayer(layer={self.layer_idx}, columns={self.length})"

    # -- new tokens

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype = key_states.dtype
        self.store.start(key_states.shape[0])
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if is_compiling():
            if self.is_shared:
                raise Unsupported(f"[update] layer {self.layer_idx} is shared by later layers, wanted no torch.compile")
            # The graph's step takes the raw chunk; only the length is Python's.
            self.length += key_states.shape[2]
            step.traced.layer = self
            return key_states, value_states
        tokens = self.accept(key_states, value_states)
        self.length = self.columns + tokens
        return handles(self, self.length, key_states)

    def accept(self, keys: torch.Tensor, values: torch.Tensor) -> int:
        """Makes a chunk the pending one; the one before is stored. Returns its tokens. Every token of every layer passes here and
        through attend, so that nothing is asked twice."""
        shape = keys.shape
        if len(shape) != 4 or shape != values.shape or (shape[1], shape[3]) != self.shape or not keys.is_cpu:
            self._refuse(keys, values)
        if keys.requires_grad or values.requires_grad:
            _check_gradients("update", "keys or values")
        if self.is_first:
            self.session.begin(self)
        if self.pending is not None:
            self.flush()
        if not self.is_initialized or self.dtype is not keys.dtype or len(self.store.rows) != shape[0]:
            self.lazy_initialization(keys, values)
        self.pending = Chunk(self._ordered(keys), values if values.stride(3) == 1 else values.contiguous())
        return shape[2]

    def _ordered(self, rows: torch.Tensor) -> torch.Tensor:
        """Keys or queries with their channels as the cache has them, in a row, as the kernel reads them; other strides are free."""
        if self.store.order is not None:
            return rows[..., self.store.order]
        return rows if rows.stride(3) == 1 else rows.contiguous()

    def _refuse(self, keys: torch.Tensor, values: torch.Tensor) -> NoReturn:
        shape = keys.shape
        if len(shape) != 4 or shape != values.shape:
            raise Unsupported(
                f"[update] keys of layer {self.layer_idx} have shape {list(shape)} and values {list(values.shape)}, "
                "wanted one shape [batch, kv_heads, tokens, head_dim]"
            )
        found = (shape[1], shape[3])
        if found != self.shape:
            raise InvalidArgument(
                f"[update] layer {self.layer_idx} has {found[0]} kv heads of {found[1]}, the cache was made for {self.shape[0]} of {self.shape[1]}"
            )
        raise Unsupported(f"[update] keys are on {keys.device}, wanted cpu")

    def flush(self) -> None:
        """Stores the pending chunk."""
        chunk = self.pending
        if chunk is None:
            return
        picks = None if chunk.view is None else chunk.view.picks
        keys, values, rows = chunk.keys, chunk.values, self.store.rows
        try:
            if picks is None:
                self.store.kv.append(rows, self.place, keys, values)
            else:
                # For every row before any row changes; one append for all rows does that by itself.
                self.store.reserve(self.place, [keys[i, 0, pick].shape[0] for i, pick in enumerate(picks)])
                for row, pick, of_row, its_values in zip(rows, picks, keys, values, strict=True):
                    self.store.kv.append(row, self.place, of_row[:, pick], its_values[:, pick])
        except Exception:
            self.session.rollback()
            raise
        self._stored(chunk)

    def _stored(self, chunk: Chunk) -> None:
        self.shown = col.grown(self.shown, chunk.tokens) if chunk.view is None else chunk.view.shown
        self.columns += chunk.tokens
        self.pending = None

    # -- reading

    def attend(self, query: torch.Tensor, mask: torch.Tensor | None, softmax: Softmax) -> torch.Tensor:
        """One step over [pages | exact rows | chunk], then the chunk is stored. query [batch, query_heads, tokens, head_dim] gives
        [batch, tokens, query_heads, head_dim]; queries of hidden tokens give zeros."""
        chunk = self.pending
        batch, _, tokens, _ = query.shape
        found = None if chunk is None else (chunk.batch, chunk.tokens)
        if chunk is None or found != (batch, tokens):
            raise InvalidArgument(
                f"[attend] queries have batch and tokens {(batch, tokens)}, wanted those of the last update: {found}"
            )
        if query.requires_grad:
            _check_gradients("attend", "queries")
        query = self._ordered(query)
        try:
            if self.is_first and chunk.view is None:  # or it has been attended to before
                self._count_pages()
            shows_all = mask is None and self.shown is None
            view = chunk.view = col.ALL if shows_all else self.session.view(mask, self, batch, tokens)
            if softmax.window and view.shown is not None:
                raise Unsupported(
                    f"[attend] layer {self.layer_idx} has a window of {softmax.window} and hidden tokens, wanted one of them"
                )
            kv, rows = self.store.kv, self.store.rows
            if view.picks is not None:
                out = self._attend_picked(query, chunk, view.picks, softmax)
            elif self.record_past or self.is_shared:  # keeps_chunk
                out = self._kernel(kv.attend, query, rows, chunk, softmax)
            else:
                out = self._kernel(kv.step, query, rows, chunk, softmax)
                self._stored(chunk)
        except Exception:
            self.session.rollback()
            raise
        if self.pending is not None and not self.keeps_chunk:
            self.flush()
        return out if out.dtype == query.dtype else out.to(query.dtype)

    def _count_pages(self) -> None:
        lengths = (self.store.kv.num_tokens(row, self.place) for row in self.store.rows)
        self.session.compressed_tokens_read += sum(length // PAGE_TOKENS * PAGE_TOKENS for length in lengths)

    def _attend_picked(self, query: torch.Tensor, chunk: Chunk, picks: tuple[col.Pick, ...], softmax: Softmax) -> torch.Tensor:
        batch, heads, tokens, dim = query.shape
        out = torch.zeros(batch, tokens, heads, dim)
        for i, pick in enumerate(picks):
            part = query[i : i + 1, :, pick]
            if part.shape[2]:
                of_row = Chunk(chunk.keys[i : i + 1, :, pick], chunk.values[i : i + 1, :, pick])
                out[i, pick] = self._kernel(self.store.kv.attend, part, self.store.rows[i : i + 1], of_row, softmax)[0]
        return out

    def _kernel(
        self, call: Callable[..., Any], query: torch.Tensor, rows: list[int], chunk: Chunk, softmax: Softmax
    ) -> torch.Tensor:
        scale, soft_cap, window, sinks = softmax
        found = call(
            self.place,
            query,
            rows,
            keys=chunk.keys,
            values=chunk.values,
            scale=scale or None,
            soft_cap=soft_cap,
            window=window or None,
            lse=sinks is not None,
        )
        if sinks is None:
            return found
        out, lse = found  # exp(lse) / (exp(lse) + exp(sink)) of the sum is left to the tokens
        share = torch.sigmoid(lse - sinks.detach().float()[None, :, None])
        return out * share.transpose(1, 2)[..., None]

    def dense(self, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of the first `columns` columns as the pages stand for them, the pending chunk exactly; columns that were
        left out are zeros."""
        batch = len(self.store.rows)
        heads, dim = self.shape
        keys, values = (torch.zeros(batch, heads, self.columns, dim, dtype=self.dtype) for _ in range(2))
        if self.is_first:
            self._count_pages()
        for i, row in enumerate(self.store.rows):
            count = self.store.kv.num_tokens(row, self.place)
            place = slice(0, count) if self.shown is None else self.shown[i].nonzero()[:, 0]
            for whole, part in zip((keys, values), self.store.kv.read(row, self.place, 0, count), strict=True):
                whole[i, :, place] = torch.as_tensor(part).to(self.dtype)
        if self.pending is not None:
            keys = torch.cat([keys, self.pending.keys], 2)
            values = torch.cat([values, self.pending.values], 2)
        if self.store.order is not None:
            keys = keys[..., self.store.order.argsort()]
        return keys[:, :, :columns], values[:, :, :columns]

    # -- lengths

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def activate_past_recording(self) -> None:
        self.record_past = True

    @property
    def keeps_chunk(self) -> bool:
        """Whether a chunk is still pending after it was attended to."""
        return self.record_past or self.is_shared

    # -- changes; those that concern the stored rows are the cache's, for all layers at once

    def cut_pending(self, removed: int) -> None:
        """The pending chunk without its last `removed` columns."""
        chunk = self.pending
        if chunk is None:
            return
        kept = chunk.tokens - removed
        view = chunk.view
        if view is not None and view.shown is not None:
            shown = view.shown[:, : self.columns + kept]
            view = col.view_of(shown, self.shown, self.columns, shown.shape[0], kept)
        self.pending = Chunk(chunk.keys[:, :, :kept], chunk.values[:, :, :kept], view) if kept else None
        self.length = self.columns + kept

    def select_pending(self, index: torch.Tensor) -> None:
        """The pending chunk with rows index[i] in place of rows i."""
        chunk = self.pending
        if chunk is None:
            return
        view = chunk.view
        if view is not None and view.shown is not None:
            picks = None if view.picks is None else tuple(view.picks[i] for i in index.tolist())
            view = col.View(view.shown[index], picks)
        self.pending = Chunk(chunk.keys[index], chunk.values[index], view)

    def restore(self, columns: int, shown: torch.Tensor | None) -> None:
        self.pending = None
        self.columns = self.length = columns
        self.shown = shown
        self.epoch += 1

    def _alone(self, name: str) -> Unsupported:
        return Unsupported(
            f"[{name}] layer {self.layer_idx} is asked alone, wanted QJLCache.{name}: a sequence is one in all layers"
        )

    def crop(self, tokens_to_remove: int) -> None:
        raise self._alone("crop")

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        raise self._alone("reorder_cache")

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        raise self._alone("batch_select_indices")

    def batch_repeat_interleave(self, repeats: int) -> None:
        raise self._alone("batch_repeat_interleave")

    def copied(self, session: Session, store: Store) -> QJLLayer:
        """This layer over forked rows."""
        other = QJLLayer(session, store, self.place, self.layer_idx, self.is_first, self.is_shared)
        session.add(other)
        other.is_initialized, other.record_past, other.dtype = self.is_initialized, self.record_past, self.dtype
        other.length, other.columns, other.shown = self.length, self.columns, self.shown
        if self.pending is not None:
            other.pending = Chunk(self.pending.keys, self.pending.values, self.pending.view)
        return other

    def resume(self, columns: int, shown: torch.Tensor | None, dtype: torch.dtype) -> None:
        """Over a store that holds rows already."""
        self.is_initialized, self.dtype = True, dtype
        self.restore(columns, shown)

    def reset(self) -> None:
        self.store.clear()
        self.restore(0, None)
        self.is_initialized = False

    def offload(self) -> None:
        raise Unsupported("[offload] the pages of a QJLCache are in main memory already, wanted offloading=False")

    prefetch = offload


def _check_gradients(name: str, what: str) -> None:
    if torch.is_grad_enabled():
        raise Unsupported(f"[{name}] {what} require gradients, wanted torch.no_grad(): a compressed cache has none")
