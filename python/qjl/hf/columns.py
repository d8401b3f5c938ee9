"""Which columns of a batch a cache has stored, and which of a new chunk it will.

Transformers counts columns: every row of a batch has as many, padding included. A sequence of the cache holds only the tokens that
the mask shows, so row i's stored tokens are the columns c with shown[i, c], in order. The sums below are done once a forward pass
and shared by all layers: every layer gets the same mask object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch

from qjl import InvalidArgument, Unsupported

Pick: TypeAlias = "slice | torch.Tensor"  # columns of a chunk: a run of them, or their numbers


@dataclass(frozen=True)
class View:
    """What a mask shows: of all columns so far (None: all of them), and of the chunk, a pick a row (None: all of it)."""

    shown: torch.Tensor | None = None  # [batch, columns] bool
    picks: tuple[Pick, ...] | None = None


ALL = View()


def view_of(mask: torch.Tensor | None, shown: torch.Tensor | None, columns: int, batch: int, chunk: int) -> View:
    """Checks a mask [batch, columns + chunk] against the columns stored so far. Errors: InvalidArgument when it hides a stored one
    or shows one that was left out, or has another shape; Unsupported when it is a mask of single queries."""
    if mask is None:
        if shown is not None:
            left_out = int((~shown).sum())
            raise InvalidArgument(
                f"[attend] found no mask, or one that hides nothing, but {left_out} columns of this cache were left out as padding: "
                f"wanted the mask [{batch}, {columns + chunk}] over all tokens"
            )
        return ALL
    if mask.dim() != 2:
        raise Unsupported(
            f"[attend] mask has shape {list(mask.shape)}, wanted [batch, tokens]: masks of single queries are not supported"
        )
    if tuple(mask.shape) != (batch, columns + chunk):
        raise InvalidArgument(
            f"[attend] mask has shape {list(mask.shape)}, wanted [{batch}, {columns + chunk}]: cached tokens and new ones"
        )
    mask = mask.bool()
    _check_past(mask[:, :columns], shown)
    new = mask[:, columns:]
    picks = None if bool(new.all()) else tuple(_pick(row) for row in new)
    if shown is None and picks is None:
        return ALL
    return View(mask.clone(), picks)  # the caller may write into its mask


def _check_past(past: torch.Tensor, shown: torch.Tensor | None) -> None:
    wrong = ~past if shown is None else past != shown
    if not bool(wrong.any()):
        return
    row, column = (int(i) for i in wrong.nonzero()[0])
    stored = shown is None or bool(shown[row, column])
    found, was = ("hides", "is stored") if stored else ("shows", "was left out as padding")
    raise InvalidArgument(f"[attend] mask {found} column {column} of row {row}, which {was}: wanted what earlier masks showed")


def _pick(row: torch.Tensor) -> Pick:
    """A run as a slice, which needs no copy."""
    columns = row.nonzero()[:, 0]
    count = columns.numel()
    if count == 0:
        return slice(0, 0)
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first + 1 == count else columns


def grown(shown: torch.Tensor | None, chunk: int) -> torch.Tensor | None:
    """`shown` after a chunk of which every column was stored."""
    if shown is None:
        return None
    return torch.cat([shown, shown.new_ones(shown.shape[0], chunk)], 1)


def counts(shown: torch.Tensor | None, columns: int, batch: int) -> list[int]:
    """Stored tokens of every row among the first `columns` columns."""
    if shown is None:
        return [columns] * batch
    return shown[:, :columns].sum(1).tolist()
