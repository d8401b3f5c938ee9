"""Saved caches of Transformers models: one *.qjlkv.safetensors (docs/cache_file.md) that this package and the program both go on with.

Beside the pages stand, in the file's own places, token ids, layer types and exact layers (`exact.L.keys`, `exact.L.values`), and in
the note `transformers`, JSON, what only Transformers counts: columns, which of them are stored, the dtype, the compressed layers and
how far the windows have come. A file without that note is the program's: its rows end at the same column.

Keys stand in the writer's order of channels. Where that is not the model's (GGUF permutes llama's), queries and new keys are permuted.
They have RoPE's magnitude in them; the note `rope_magnitudes`, which the program writes and reads too, tells it where it is not 1.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from qjl import BadFile, CacheFile, InvalidArgument, Unsupported
from qjl.rope import Rope, layer_type

if TYPE_CHECKING:
    from qjl.hf.cache import QJLCache

NOTE = "transformers"
MAGNITUDES = "rope_magnitudes"  # a number for each layer of the cache; 1 where the note is missing
SAME_MAGNITUDE = 1e-6  # of each other: what is left of one when it is written in nine digits, or was computed in fp32
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MOST_COLUMNS = 1 << 30  # a byte each in memory
KEPT_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)


def save(cache: QJLCache, path: str | os.PathLike[str], token_ids: Any, model: str) -> None:
    stores, layers = cache.session.stores, cache.compressed
    if len(stores) != 1:
        raise Unsupported(f"[save] the layers of this cache have {len(stores)} shapes, wanted one")
    if not stores[0].rows:
        raise InvalidArgument("[save] the cache is empty, wanted tokens in it")
    for layer in layers:
        layer.flush()
    first = layers[0]
    note = {
        "columns": first.columns,
        "runs": None if first.shown is None else [_runs(row) for row in first.shown],
        "dtype": str(first.dtype).removeprefix("torch."),
        "compressed": [layer.layer_idx for layer in layers],
        "seen": {},
    }
    exact: dict[str, torch.Tensor] = {}
    for i, layer in enumerate(cache.layers):
        if layer in layers or not _holds_tokens(layer, i):
            continue
        exact[f"{i}.keys"], exact[f"{i}.values"] = layer.keys.contiguous(), layer.values.contiguous()
        note["seen"][str(i)] = layer.get_seq_length()
    stores[0].kv.save(
        path,
        stores[0].rows,
        token_ids=[] if token_ids is None else _ids(token_ids, first.shown, first.columns, len(stores[0].rows)),
        model=model,
        layer_types=cache.layer_types,
        notes={NOTE: json.dumps(note), **_magnitudes_note(cache.rope_magnitudes)},
        exact=exact,
    )


def _magnitudes_note(magnitudes: list[float]) -> dict[str, str]:
    return {MAGNITUDES: " ".join(f"{each:.9g}" for each in magnitudes)} if any(each != 1 for each in magnitudes) else {}


def check_magnitudes(file: CacheFile, wanted: list[float]) -> None:
    """Errors: InvalidArgument when the file's keys were scaled by another RoPE; BadFile on a damaged note."""
    text = file.notes.get(MAGNITUDES)
    try:
        found = [1.0] * len(wanted) if text is None else [float(word) for word in text.split()]
    except ValueError as error:
        raise BadFile(f"[load] note `{MAGNITUDES}` of the file is damaged: {error}") from error
    if len(found) != len(wanted):
        raise BadFile(
            f"[load] note `{MAGNITUDES}` of the file has {len(found)} numbers, wanted one for each of {len(wanted)} layers"
        )
    for layer, (has, its) in enumerate(zip(found, wanted, strict=True)):
        if not abs(has - its) <= SAME_MAGNITUDE * its:
            raise InvalidArgument(
                f"[load] the file's RoPE has magnitude {has:.9g} in layer {layer}, wanted {its:.9g} as the model has"
            )


def _holds_tokens(layer: Any, layer_idx: int) -> bool:
    if type(layer) in KEPT_LAYERS:
        return bool(layer.is_initialized)
    if hasattr(layer, "keys") or hasattr(layer, "conv_states"):
        raise Unsupported(f"[save] layer {layer_idx} is a {type(layer).__name__}, wanted full or sliding attention")
    return False  # a layer that shares what others hold


def _runs(row: torch.Tensor) -> list[list[int]]:
    """[begin, end) of every stretch of True."""
    edges = torch.diff(torch.nn.functional.pad(row.int(), (1, 1))).nonzero()[:, 0]
    return edges.reshape(-1, 2).tolist()


def _ids(given: Any, shown: torch.Tensor | None, columns: int, batch: int) -> list[list[int]]:
    """The ids of stored tokens, then those beyond the columns. `given` [batch, columns or more]."""
    ids = torch.as_tensor(given)
    if ids.dim() != 2 or ids.shape[0] != batch or ids.shape[1] < columns:
        raise InvalidArgument(f"[save] token_ids have shape {list(ids.shape)}, wanted [{batch}, {columns} or more]")
    stored = torch.ones(batch, columns, dtype=torch.bool) if shown is None else shown
    return [row[:columns][kept].tolist() + row[columns:].tolist() for row, kept in zip(ids, stored, strict=True)]


class Note:
    """What a file says for Transformers, checked against the rest of it. Errors: BadFile."""

    def __init__(self, file: CacheFile, dtype: torch.dtype) -> None:
        self.file = file
        tokens = list(file.num_tokens)
        if not tokens:
            raise InvalidArgument("[load] the file holds no sequence, wanted one or more")
        text = file.notes.get(NOTE)
        if text is None:  # the program's
            self.columns, self.dtype, self.compressed, self.seen = max(tokens), dtype, None, {}
            runs: Any = [[[self.columns - count, self.columns]] if count else [] for count in tokens]
        else:
            try:
                found = json.loads(text)
                self.columns, self.dtype = int(found["columns"]), DTYPES[found["dtype"]]
                self.compressed: list[int] | None = [int(i) for i in found["compressed"]]
                self.seen = {int(i): int(count) for i, count in found["seen"].items()}
                runs = found["runs"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise BadFile(f"[load] note `{NOTE}` of the file is damaged: {type(error).__name__} {error}") from error
        self.shown = self._shown(runs, tokens)

    def _shown(self, runs: Any, tokens: list[int]) -> torch.Tensor | None:
        if runs is None:
            runs = [[[0, self.columns]] if self.columns else []] * len(tokens)
        if not 0 <= self.columns * len(tokens) <= MOST_COLUMNS:
            raise BadFile(f"[load] the file has {self.columns} columns in {len(tokens)} rows, wanted {MOST_COLUMNS} in all at most")
        try:
            total = [sum(end - begin for begin, end in row) for row in runs]
            edges = [[edge for run in row for edge in run] for row in runs]
        except (TypeError, ValueError) as error:
            raise BadFile(f"[load] `runs` of note `{NOTE}` are {runs!r}, wanted pairs of columns for each sequence") from error
        for row in edges:
            if row != sorted(row) or (row and not 0 <= row[0] <= row[-1] <= self.columns):
                raise BadFile(f"[load] stored columns of a row are {row}, wanted growing ones up to {self.columns}")
        if total != tokens:
            raise BadFile(f"[load] the file has columns of {total} stored tokens, wanted {tokens} as its sequences")
        if all(count == self.columns for count in tokens):
            return None
        shown = torch.zeros(len(tokens), self.columns, dtype=torch.bool)
        for i, row in enumerate(runs):
            for begin, end in row:
                shown[i, begin:end] = True
        return shown

    def fill_exact(self, layers: list[Any], batch: int) -> None:
        """Gives the exact layers their tensors."""
        arrays = self.file.exact()
        for i, count in self.seen.items():
            layer = layers[i] if 0 <= i < len(layers) else None
            if type(layer) not in KEPT_LAYERS or f"{i}.keys" not in arrays or f"{i}.values" not in arrays:
                raise InvalidArgument(
                    f"[load] the file holds exact layer {i}, which this model does not have, wanted the same model"
                )
            keys, values = (_tensor(*arrays[f"{i}.{name}"]) for name in ("keys", "values"))
            if (
                keys.dim() != 4
                or keys.shape != values.shape
                or keys.shape[0] != batch
                or not keys.shape[2] <= count == self.columns
            ):
                raise BadFile(
                    f"[load] exact layer {i} has keys {list(keys.shape)} after {count} columns, wanted [{batch}, heads, tokens, head_dim]"
                )
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            if hasattr(layer, "cumulative_length"):
                layer.cumulative_length = count
        missing = [i for i, layer in enumerate(layers) if type(layer) in KEPT_LAYERS and i not in self.seen]
        if missing and self.columns:
            raise InvalidArgument(f"[load] the file has nothing of layers {missing}, which stay exact here, wanted all of them")


def _tensor(kind: str, array: Any) -> torch.Tensor:
    found = torch.from_numpy(array.copy())
    return found.view(torch.bfloat16) if kind == "bfloat16" else found


def check_layer_types(file: CacheFile, types: list[str]) -> None:
    found = list(file.layer_types)
    if found and found != types:
        raise InvalidArgument(f"[load] the file is for a model with layers {found}, wanted {types}")


def types_of(config: Any, count: int) -> list[str]:
    return [layer_type(config, i) for i in range(count)]


def channel_order(found_pairs: str, rope: Rope, head_dim: int) -> torch.Tensor | None:
    """order[c]: which channel of the model stands at channel c of the file; None where they stand alike."""
    count = len(rope.frequencies)
    if not count or found_pairs == rope.pairs:
        return None
    halves_first = torch.arange(2 * count).reshape(2, count).T.reshape(-1)  # 0, n, 1, n + 1 ...: what stands in an interleaved file
    order = halves_first if found_pairs == "interleaved" else halves_first.argsort()
    return torch.cat([order, torch.arange(2 * count, head_dim)])
