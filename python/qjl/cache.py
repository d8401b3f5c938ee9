"""KvCache: reads the arguments of a cache; what it does is _core's."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from qjl import _core
from qjl.errors import InvalidArgument
from qjl.plan import PlanLike, read_plan

__all__ = ["KvCache"]

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]

DEFAULT_TYPE = "k3v2"
DEFAULT_MAX_TOKENS = _core.PAGE_TOKENS << 20  # address space, which costs nothing until it is used


class KvCache(_core.KvCache):
    """Keys and values of many sequences, all layers and kv heads, in sealed compressed pages of 128 tokens and exact open ones.

    num_layers, num_kv_heads, head_dim (64, 80, 96, 128 or 256; of ``f16`` a multiple of 16 from 32 to 512): the model's.
    cache: a cache type: ``f16``, ``k2v2``, ``k3v2``, ``k3v3``, ``k4v3``, ``k4v4``, ``k5v4``, ``k5v5``, ``k6v5``, ``k6v6``, ``t2v2``,
        ``t3v2``, ``t3v3``, ``t4v4``, any ``k{1..6}v{1..6}``, ``paper``. On the host alone: ``k5`` (head_dim a multiple of 32), ``k6``,
        ``v5``, ``v6`` and the types with t (a multiple of 64). Options may follow, ``k3v2:seed=7,sinks=0``. Or the path of a plan, which ends in ``.json``.
    max_tokens: how many tokens all sequences hold together at most, in whole pages. A limit, not a cost.
    tail_dtype: of exact rows, ``float16`` or ``bfloat16`` (a name, or the type of NumPy or torch).
    rope: radians by which each pair of channels turns at each token, [at most head_dim / 2]; or such a list for every layer. None:
        keys do not turn. The same numbers as the model's, or the page means are wasted.
    rope_pairs: ``halves`` (channel i with i + n, as in Transformers) or ``interleaved`` (2 i with 2 i + 1, as GGUF has llama's).
    windows: how many tokens back a query of each layer sees, its own included, unless a call says otherwise; 0: all.
    retention: how many of its last tokens each layer keeps at least, its window at least; 0: all. Whole pages before them are free
        again, and what would need them is an error. Attend to new tokens before, or as, they are appended (`step`).
    plan: codes of each layer: the path of a file of ``qjl plan``, or its object. It stands in for ``cache``.
    threads: that work on one call; 0: as many as this process may use.

    A cache may be used by many threads of Python at once: attends and reads share it, changes have it alone.

    Errors: InvalidArgument; BadFile and FileError on a plan.
    """

    def __init__(
        self,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        cache: str = DEFAULT_TYPE,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        tail_dtype: Any = "float16",
        rope: Sequence[float] | Sequence[Sequence[float]] | None = None,
        rope_pairs: str = "halves",
        windows: Sequence[int] | None = None,
        retention: Sequence[int] | None = None,
        plan: PlanLike | None = None,
        threads: int = 0,
    ) -> None:
        options = cache_options(num_layers, num_kv_heads, head_dim, cache, tail_dtype, rope, rope_pairs, plan)
        layers = {"windows": _numbers_of("windows", windows), "retention": _numbers_of("retention", retention)}
        super().__init__(**options, **layers, max_tokens=max_tokens, threads=threads)

    def save(
        self,
        path: PathLike,
        sequences: Sequence[int] | None = None,
        *,
        token_ids: Sequence[Sequence[int]] = (),
        model: str = "",
        layer_types: Sequence[str] = (),
        notes: Mapping[str, str] | None = None,
        exact: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes sequences (all that live) to one safetensors file, *.qjlkv.safetensors; docs/cache_file.md lists its words.

        The file is there whole or not at all. token_ids: of each sequence, those that it holds and any that are still to come.
        exact: contiguous arrays of layers that stay exact, by name.

        Errors: InvalidArgument on an unknown sequence, layers of unequal length, fewer ids than tokens; FileError.
        """
        self._save(
            path,
            sequences=self.sequences() if sequences is None else list(sequences),
            token_ids=[list(ids) for ids in token_ids],
            model=model,
            layer_types=list(layer_types),
            notes=dict(notes or {}),
            exact=dict(exact or {}),
        )

    @classmethod
    def load(cls, file: PathLike | _core.CacheFile, *, max_tokens: int | None = None, threads: int = 0) -> Self:
        """The cache of a saved file, whose pages are mapped and attended to in place; sequences() has its sequences.

        max_tokens: as of a new cache.

        Errors: FileError; BadFile; InvalidArgument when max_tokens is too small.
        """
        cache = cls.__new__(cls)
        saved = file if isinstance(file, _core.CacheFile) else _core.CacheFile(file)
        _core.KvCache.__init__(
            cache, saved=saved, max_tokens=DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens, threads=threads
        )
        return cache

    def __repr__(self) -> str:
        return f"KvCache({self.num_layers}, {self.num_kv_heads}, {self.head_dim}, {self.cache_type()!r})"


def cache_options(
    num_layers: int,
    num_kv_heads: int,
    head_dim: int,
    cache: str,
    tail_dtype: Any,
    rope: Any,
    rope_pairs: str,
    plan: PlanLike | None,
) -> dict[str, Any]:
    """The words of _core for what KvCache and PagedCache are made of."""
    layer_codes: list[tuple[str, str]] = []
    if cache.endswith(".json"):
        if plan is not None:
            raise InvalidArgument(f"[cache] found a plan beside `{cache}`, wanted one of them")
        plan, cache = cache, DEFAULT_TYPE
    if plan is not None:
        if cache != DEFAULT_TYPE:
            raise InvalidArgument(f"[cache] found the cache type `{cache}` beside a plan, wanted one of them")
        chosen = read_plan(plan)
        chosen.check_shape(num_layers, num_kv_heads, head_dim)
        layer_codes = list(chosen.layer_codes)
        cache = f"{DEFAULT_TYPE}:seed={chosen.seed},sinks={chosen.sinks}"
    return {
        "num_layers": num_layers,
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
        "cache_type": cache,
        "layer_codes": layer_codes,
        "tail_dtype": tail_dtype,
        "ropes": _ropes_of(rope, num_layers),
        "rope_pairs": rope_pairs,
    }


def _numbers_of(name: str, numbers: Any) -> list[int]:
    """One for each layer; none for None."""
    if numbers is None:
        return []
    try:
        return [operator.index(number) for number in numbers]
    except TypeError as error:
        raise InvalidArgument(f"[cache] {name} is {numbers!r}, wanted a whole number for each layer: {error}") from error


def _ropes_of(rope: Any, num_layers: int) -> list[list[float]]:
    """[] for none, one list for all layers, or one for each."""
    if rope is None:
        return []
    try:
        rows = rope.tolist() if hasattr(rope, "tolist") else list(rope)
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in rows]
        if not any(isinstance(row, Sequence) for row in rows):
            return [[float(row) for row in rows]] if rows else []
        if len(rows) == num_layers:
            return [[float(number) for number in row] for row in rows]
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"[cache] rope is {rope!r}, wanted numbers: {error}") from error
    raise InvalidArgument(f"[cache] rope has {len(rows)} rows, wanted numbers, or a list of them for each of {num_layers} layers")
