# Types of the compiled module. Arrays go in as NumPy arrays, or as torch tensors of the host; what comes out is float32.
# Texts, with shapes and errors, are the module's own: help(qjl.KvCache.attend).

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

__version__: str
PAGE_TOKENS: int  # of a page
HEAD_DIMS: tuple[int, ...]  # that every code takes, ascending
PLAN_CODES: tuple[str, ...]  # that keys and values may both have

_Floats = NDArray[np.float32]
_Array = NDArray[Any]
_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_Tensor = TypeVar("_Tensor")  # torch.Tensor

class KvCache:
    @overload
    def __init__(self, *, saved: CacheFile, max_tokens: int, threads: int) -> None: ...
    @overload
    def __init__(
        self,
        *,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        cache_type: str,
        layer_codes: Sequence[tuple[str, str]],
        max_tokens: int,
        tail_dtype: Any,
        ropes: Sequence[Sequence[float]],
        rope_pairs: str,
        windows: Sequence[int],
        retention: Sequence[int],
        threads: int,
    ) -> None: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def tail_dtype(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def sink_tokens(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def rope_pairs(self) -> str: ...
    def cache_type(self, layer: int = 0) -> str: ...
    def rope(self, layer: int = 0) -> list[float]: ...
    def sequences(self) -> list[int]: ...
    def _save(
        self,
        path: _Path,
        *,
        sequences: Sequence[int],
        token_ids: Sequence[Sequence[int]],
        model: str,
        layer_types: Sequence[str],
        notes: Mapping[str, str],
        exact: Mapping[str, Any],
    ) -> None: ...
    def create(self) -> int: ...
    def fork(self, sequence: int) -> int: ...
    def truncate(self, sequence: int, num_tokens: int) -> None: ...
    def can_truncate(self, sequence: int, num_tokens: int) -> bool: ...
    def first_kept(self, sequence: int, layer: int) -> int: ...
    def drop(self, sequence: int) -> None: ...
    def reserve(self, sequence: int, num_tokens: int) -> None: ...
    def num_tokens(self, sequence: int, layer: int | None = None) -> int: ...
    def append(self, sequence: int | Sequence[int], layer: int, keys: Any, values: Any) -> None: ...
    def read(self, sequence: int, layer: int, begin: int, end: int) -> tuple[_Floats, _Floats]: ...
    def page(self, sequence: int, layer: int, kv_head: int, page: int) -> tuple[bytes, bytes]: ...
    def memory_report(self) -> dict[str, int]: ...
    def bits(self) -> float: ...
    def bits_sealed(self) -> float: ...
    def page_bytes(self, layer: int) -> int: ...
    def free_pages(self) -> int: ...
    @overload
    def attend(
        self,
        layer: int,
        queries: _Array,
        sequences: Sequence[int],
        *,
        keys: _Array | None = None,
        values: _Array | None = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[False] = False,
    ) -> _Floats: ...
    @overload
    def attend(
        self,
        layer: int,
        queries: _Array,
        sequences: Sequence[int],
        *,
        keys: _Array | None = None,
        values: _Array | None = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[True],
    ) -> tuple[_Floats, _Floats]: ...
    @overload
    def attend(
        self,
        layer: int,
        queries: _Tensor,
        sequences: Sequence[int],
        *,
        keys: _Tensor | None = None,
        values: _Tensor | None = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[False] = False,
    ) -> _Tensor: ...
    @overload
    def attend(
        self,
        layer: int,
        queries: _Tensor,
        sequences: Sequence[int],
        *,
        keys: _Tensor | None = None,
        values: _Tensor | None = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[True],
    ) -> tuple[_Tensor, _Tensor]: ...
    @overload
    def step(
        self,
        layer: int,
        queries: _Array,
        sequences: Sequence[int],
        keys: _Array,
        values: _Array,
        *,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[False] = False,
    ) -> _Floats: ...
    @overload
    def step(
        self,
        layer: int,
        queries: _Array,
        sequences: Sequence[int],
        keys: _Array,
        values: _Array,
        *,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[True],
    ) -> tuple[_Floats, _Floats]: ...
    @overload
    def step(
        self,
        layer: int,
        queries: _Tensor,
        sequences: Sequence[int],
        keys: _Tensor,
        values: _Tensor,
        *,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[False] = False,
    ) -> _Tensor: ...
    @overload
    def step(
        self,
        layer: int,
        queries: _Tensor,
        sequences: Sequence[int],
        keys: _Tensor,
        values: _Tensor,
        *,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: Literal[True],
    ) -> tuple[_Tensor, _Tensor]: ...

class CacheFile:
    def __init__(self, path: _Path) -> None: ...
    @property
    def model(self) -> str: ...
    @property
    def layer_types(self) -> list[str]: ...
    @property
    def token_ids(self) -> list[list[int]]: ...
    @property
    def notes(self) -> dict[str, str]: ...
    @property
    def num_tokens(self) -> list[int]: ...
    def exact(self) -> dict[str, tuple[str, _Array]]: ...
    def check_model(self, cache: KvCache) -> None: ...

class PageCodec:
    def __init__(
        self, head_dim: int, cache: str = "k3v2", *, rope: Sequence[float] | None = None, rope_pairs: str = "halves"
    ) -> None: ...
    @property
    def head_dim(self) -> int: ...
    def page_bytes(self) -> int: ...
    def encode(self, keys: Any, values: Any, num_sinks: int = 0) -> tuple[bytes, bytes]: ...
    def decode(self, head: bytes, body: bytes) -> tuple[_Floats, _Floats]: ...
    def score(self, queries: Any, head: bytes, body: bytes) -> _Floats: ...

class Batch:
    def __init__(self, block_table: Any, starts: Any, num_tokens: Any, tail_ids: Any) -> None: ...
    def __len__(self) -> int: ...
    @property
    def tokens(self) -> int: ...

class PagedCache:
    def __init__(
        self,
        *,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        cache_type: str,
        layer_codes: Sequence[tuple[str, str]],
        tail_dtype: Any,
        ropes: Sequence[Sequence[float]],
        rope_pairs: str,
        sinks: int | None,
        threads: int,
    ) -> None: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def tail_dtype(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def sink_tokens(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def rope_pairs(self) -> str: ...
    @property
    def sink_bytes(self) -> int: ...
    @property
    def tail_bytes(self) -> int: ...
    def cache_type(self, layer: int = 0) -> str: ...
    def rope(self, layer: int = 0) -> list[float]: ...
    def page_bytes(self, layer: int) -> int: ...
    def part_bytes(self, layer: int) -> int: ...
    def token_bytes(self, layer: int) -> int: ...
    def append(self, layer: int, pages: Any, tails: Any, batch: Batch, keys: Any, values: Any) -> None: ...
    # Of the kind of the queries, or the caller's `out`; with lse=True a pair.
    def attend(
        self,
        layer: int,
        pages: Any,
        tails: Any,
        batch: Batch,
        queries: Any,
        *,
        keys: Any = None,
        values: Any = None,
        out: Any = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: bool = False,
    ) -> Any: ...
    def step(
        self,
        layer: int,
        pages: Any,
        tails: Any,
        batch: Batch,
        queries: Any,
        keys: Any,
        values: Any,
        *,
        out: Any = None,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        lse: bool = False,
    ) -> Any: ...

@overload
def merge(out_a: _Array, lse_a: _Array, out_b: _Array, lse_b: _Array) -> tuple[_Floats, _Floats]: ...
@overload
def merge(out_a: _Tensor, lse_a: _Tensor, out_b: _Tensor, lse_b: _Tensor) -> tuple[_Tensor, _Tensor]: ...
def simd_target() -> str: ...
