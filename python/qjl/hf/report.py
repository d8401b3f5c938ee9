"""The honest size of a QJLCache: every byte that it holds, beside what the same tokens take in Transformers' own cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from qjl.hf.cache import QJLCache

BYTES_16_BIT = 2


def memory_report(cache: QJLCache) -> dict[str, Any]:
    layers, stores = cache.compressed, cache.session.stores
    compressed = sum(store.kv.memory_report()["total"] for store in stores)
    compressed += sum(nbytes(layer.pending.keys, layer.pending.values) for layer in layers if layer.pending is not None)
    exact = nbytes(*(tensor for layer in cache.exact for tensor in tensors(vars(layer))))
    baseline = exact
    for layer in layers:
        tokens = sum(layer.store.kv.num_tokens(row, layer.place) for row in layer.store.rows)
        waiting = 0 if layer.pending is None else layer.pending.tokens * len(layer.store.rows)
        baseline += (tokens + waiting) * 2 * layer.shape[0] * layer.shape[1] * BYTES_16_BIT
    total = compressed + exact
    return {
        "compressed_layers": len(layers),
        "exact_layers": len(cache.exact),
        "compressed_bytes": compressed,
        "exact_bytes": exact,
        "total": total,
        "baseline_bytes": baseline,
        "ratio": baseline / total if total else 1.0,
    }


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)


def nbytes(*found: torch.Tensor) -> int:
    """Bytes of the storages behind tensors, each once: a view holds on to all of its storage."""
    storages = {(storage := tensor.untyped_storage()).data_ptr(): storage.nbytes() for tensor in found}
    return sum(storages.values())
