"""Handles: what a layer's `update` returns in place of keys and values.

A handle has the shape, dtype and device of the whole cached tensor and no storage. The attention function of this package sees one
and calls the kernel; any other operation of torch that meets one is given the numbers as the pages stand for them, so every model
and every attention function works, slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from qjl import QjlError, Unsupported

if TYPE_CHECKING:
    from qjl.hf.layer import QJLLayer


class Reading:
    """The numbers behind the two handles of one update, read once when first asked for."""

    __slots__ = ("_dense", "columns", "epoch", "layer")

    def __init__(self, layer: QJLLayer, columns: int) -> None:
        self.layer, self.columns, self.epoch = layer, columns, layer.epoch
        self._dense: tuple[torch.Tensor, torch.Tensor] | None = None

    def dense(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._dense is None:
            if self.epoch != self.layer.epoch:
                raise QjlError(
                    "[read] this handle is from before a crop, reset or reordering of its cache: wanted one of the last update"
                )
            self._dense = self.layer.dense(self.columns)
        return self._dense


class KVHandle(torch.Tensor):
    """Keys (which = 0) or values (1) of one layer, [batch, kv_heads, columns, head_dim]."""

    reading: Reading
    which: int

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"KVHandle({('keys', 'values')[self.which]}, shape={tuple(self.shape)}, dtype={self.dtype})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*tree_map(dense, args), **tree_map(dense, kwargs or {}))

    def dense(self) -> torch.Tensor:
        """The numbers, as an ordinary tensor."""
        return self.reading.dense()[self.which]

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        raise Unsupported("[dlpack] a KV handle has no storage: wanted an ordinary tensor, as .dense() gives")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.dense().numpy().__array__(*args, **kwargs)

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        return self.dense().clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.dense().__reduce_ex__(protocol)


def handles(layer: QJLLayer, columns: int, keys: torch.Tensor) -> tuple[KVHandle, KVHandle]:
    """Those of keys and of values, like the new keys of a layer. Every token of every layer makes two, so they are made without the
    way through the class."""
    batch, heads, _, dim = keys.shape
    shape, dtype = (batch, heads, columns, dim), keys.dtype
    first, second = _make(KVHandle, shape, dtype=dtype), _make(KVHandle, shape, dtype=dtype)  # of the host, as the keys are
    first.reading = second.reading = Reading(layer, columns)
    first.which, second.which = 0, 1
    return first, second


_make = torch.Tensor._make_wrapper_subclass


def dense(value: Any) -> Any:
    return value.dense() if isinstance(value, KVHandle) else value
