"""What PagedCache takes and refuses: sizes, plans, torch tensors where they lie, and every wrong array by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qjl
from model import Rows
from qjl.paged import Batch, PagedCache

PLAN = Path(__file__).resolve().parents[2] / "examples/plans/smollm2-135m-2.7.json"


def new_tails(cache: PagedCache, count: int) -> np.ndarray:
    return np.zeros((count, 2, cache.num_kv_heads, 128, cache.head_dim), np.float16)


def test_sizes() -> None:
    cache = PagedCache(2, 3, 64, "k3v2", sinks=1)
    assert (cache.page_bytes(0), cache.sink_bytes, cache.part_bytes(1), cache.token_bytes(1)) == (5456, 256, 5712, 45)
    assert cache.tail_bytes == new_tails(cache, 1).nbytes
    assert cache.new_pages(0, 5).shape == (5, 3, 128, 45)
    assert cache.new_pages(0, 5).ctypes.data % 64 == 0
    for cache_type in ("k1v1", "k2v2", "k3v2", "k4v4", "f16", "paper"):
        for head_dim in (64, 80, 96, 128, 256):
            paged = PagedCache(1, 1, head_dim, cache_type, sinks=0)
            assert paged.page_bytes(0) == qjl.PageCodec(head_dim, cache_type).page_bytes() == paged.part_bytes(0)
            assert 0 <= 128 * paged.token_bytes(0) - paged.part_bytes(0) < 128


def test_a_plan_and_its_sinks() -> None:
    shape = (30, 3, 64)
    planned, one_sink = PagedCache(*shape, str(PLAN)), PagedCache(*shape, plan=PLAN, sinks=1)
    held = qjl.KvCache(*shape, str(PLAN))
    assert planned.sink_tokens == held.sink_tokens
    assert one_sink.sink_tokens == 1
    assert [planned.cache_type(layer) for layer in range(30)] == [held.cache_type(layer) for layer in range(30)]
    assert [one_sink.page_bytes(layer) for layer in range(30)] == [held.page_bytes(layer) for layer in range(30)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_tensors_are_read_and_written_where_they_are(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    kind = getattr(torch, dtype)
    tail_kind = torch.bfloat16 if dtype == "bfloat16" else torch.float16
    cache = PagedCache(1, 2, 64, "k3v2", sinks=1, tail_dtype=tail_kind, threads=2)
    held = qjl.KvCache(1, 2, 64, "k3v2:sinks=1", tail_dtype=tail_kind, threads=2)
    pages = torch.zeros(4, 2, 128, cache.token_bytes(0), dtype=torch.uint8)
    tails = torch.zeros(1, 2, 2, 128, 64, dtype=tail_kind)
    sequence, before = held.create(), 0
    for count in (200, 1, 70):
        fused = torch.randn(count, 6 + 2 + 2, 64).to(kind)  # keys and values are slices of it
        queries, keys, values = fused[:, :6], fused[:, 6:8], fused[:, 8:]
        table = torch.tensor([[2, 0, 3]], dtype=torch.int32)
        batch = Batch(table, torch.tensor([0, count], dtype=torch.int32), torch.tensor([before]), [0])
        out = cache.step(0, pages, tails, batch, queries, keys, values)
        rows = [x.transpose(0, 1)[None] for x in (queries, keys, values)]
        wanted = held.step(0, rows[0], [sequence], rows[1], rows[2])
        assert isinstance(out, torch.Tensor)
        assert torch.equal(out, wanted[0])
        before += count
    head, body = held.page(sequence, 0, 1, 1)
    assert pages[0, 1].numpy().tobytes()[: cache.page_bytes(0)] == body + head


class Scene:
    """One request of 200 tokens, and arrays of a step of 3 more."""

    def __init__(self, rows: Rows) -> None:
        self.cache = PagedCache(1, 2, 64, "k3v2", sinks=1, threads=1)
        self.pages, self.tails = self.cache.new_pages(0, 4), new_tails(self.cache, 2)
        self.cache.append(0, self.pages, self.tails, Batch([[1, 3]], [0, 200], [0], [1]), rows(200, 2, 64), rows(200, 2, 64))
        self.arguments = {
            "layer": 0,
            "pages": self.pages,
            "tails": self.tails,
            "batch": Batch([[1, 3]], [0, 3], [200], [1]),
            "queries": rows(3, 4, 64),
            "keys": rows(3, 2, 64),
            "values": rows(3, 2, 64),
        }


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.view()
    array.flags.writeable = False
    return array


def change(name: str, how: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(arguments: dict[str, Any]) -> None:
        arguments[name] = how(arguments.get(name))

    return apply


WRONG: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (change("layer", lambda _: 1), "[step] layer is 1, wanted 0 to 0"),
    (change("pages", lambda x: x.view(np.int8)), "[step] pages are int8, wanted uint8"),
    (change("pages", lambda x: x.astype(np.uint16)), "[step] pages are uint16, wanted uint8"),
    (change("pages", lambda x: x[:, :, 0, 0]), "[step] pages are [4, 2], wanted [blocks, 2 kv heads, bytes]"),
    (change("pages", lambda x: x[:, :1]), "[step] pages are [4, 1, 128, 45], wanted [blocks, 2 kv heads, bytes]"),
    (change("pages", lambda x: x[:, :, :, ::2]), "[step] pages are [4, 2, 128, 23], wanted [blocks, 2 kv heads, bytes]"),
    (change("pages", lambda x: x[:, :, :100]), "[step] pages keep 4500 bytes for a kv head in a block, wanted 5712 or more"),
    (change("pages", read_only), "[step] pages are read-only, wanted memory that may be written"),
    (change("pages", lambda x: x[:1]), "[step] block id is 1, wanted 0 to 0"),
    (change("pages", lambda _: None), "[step] pages are of type NoneType and show no memory"),
    (change("tails", lambda x: x[:1]), "[step] tail id is 1, wanted 0 to 0 for the open page of 200 + 3 tokens"),
    (change("tails", lambda x: x.astype(np.float32)), "[step] tails are float32, wanted float16"),
    (change("tails", lambda x: x.view(np.int16)), "[step] tails are int16, wanted float16"),
    (change("tails", lambda x: x[..., None]), "[step] tails are [2, 2, 2, 128, 64, 1], wanted [tails, 2, 2 kv heads"),
    (change("tails", lambda x: x.swapaxes(1, 2)), "[step] tails are [2, 2, 2, 128, 64], wanted [tails, 2, 2 kv heads"),
    (change("tails", lambda x: x[:, :, :, :64]), "[step] tails are [2, 2, 2, 64, 64], wanted [tails, 2, 2 kv heads, 128 tokens"),
    (change("queries", lambda x: x[:2]), "[attend] queries have 2 tokens, wanted 3 or more as the batch"),
    (change("queries", lambda x: x[:, :3]), "[attend] queries have 3 heads, wanted a multiple of the 2 kv heads"),
    (change("keys", lambda x: x[None]), "[step] keys are [1, 3, 2, 64], wanted 3 axes: tokens, heads, channels"),
    (change("keys", lambda x: x[:, :, :32]), "[step] keys are [2 heads, 3 tokens, 32 channels], wanted"),
    (change("values", lambda x: x.astype(np.float64)), "[step] values are float64, wanted float32, float16 or bfloat16"),
    (change("values", lambda x: np.where(x == x[1, 0, 5], np.nan, x)), "[append] values hold nan at head 0, token 1, channel 5"),
    (change("out", lambda _: np.zeros((3, 4, 64), np.float16)), "[attend] out is float16, wanted float32"),
    (change("out", lambda _: np.zeros((2, 4, 64), np.float32)), "[attend] out is [2, 4, 64], wanted [3 tokens or more, 4 heads"),
    (change("out", lambda _: np.zeros((3, 4, 64), np.int32)), "[attend] out is int32, wanted float32"),
    (
        change("out", lambda _: np.zeros((3, 4, 64, 1), np.float32)),
        "[attend] out is [3, 4, 64, 1], wanted [3 tokens or more, 4 heads",
    ),
    (change("out", lambda _: np.zeros((3, 5, 64), np.float32)), "[attend] out is [3, 5, 64], wanted [3 tokens or more, 4 heads"),
    (change("out", lambda _: np.zeros((3, 4, 65), np.float32)), "[attend] out is [3, 4, 65], wanted [3 tokens or more, 4 heads"),
    (change("out", lambda _: np.zeros((3, 4, 128), np.float32)[:, :, ::2]), "[attend] out is [3, 4, 64], wanted"),
    (change("out", lambda _: np.zeros((3, 4, 64), np.float32)[::-1]), "[attend] out is [3, 4, 64], wanted"),
    (change("out", lambda _: np.zeros((3, 4, 64), np.float32)[:, ::-1]), "[attend] out is [3, 4, 64], wanted"),
    (change("out", lambda _: read_only(np.zeros((3, 4, 64), np.float32))), "[attend] out are read-only, wanted memory"),
    (change("scale", lambda _: 0.0), "[attend] scale is 0, wanted another number"),
    (change("window", lambda _: 0), "[attend] window is 0, wanted 1 or more"),
    (change("batch", lambda _: Batch([[1]], [0, 60], [200], [1])), "[step] keys have 3 tokens, wanted 60 or more as the batch"),
    (change("batch", lambda _: Batch([[1]], [0, 3], [400], [1])), "[step] found 1 blocks of a request, wanted one for each 128"),
    (change("batch", lambda _: Batch([[2**40, 3]], [0, 3], [200], [1])), "[step] block id is -1, wanted 0 to 3"),
    (change("batch", lambda _: Batch([[0, 3]], [0, 3], [200], [1])), "[step] block 0, kv head 0 of layer 0: found page format"),
]


@pytest.mark.parametrize(("wrong", "text"), WRONG, ids=[text for _, text in WRONG])
def test_every_wrong_argument_has_a_text(rows: Rows, wrong: Callable[[dict[str, Any]], None], text: str) -> None:
    scene = Scene(rows)
    before = scene.pages.tobytes() + scene.tails.tobytes()
    wrong(scene.arguments)
    with pytest.raises(qjl.InvalidArgument, match=re.escape(text)):
        scene.cache.step(**scene.arguments)
    assert scene.pages.tobytes() + scene.tails.tobytes() == before


BATCHES: list[tuple[tuple[Any, Any, Any, Any], str]] = [
    (([[0]], [0], [0], [0]), "[batch] starts are 1, wanted 2: one more than the requests in num_tokens"),
    (([[0]], [0, 1], [0], [0, 1]), "[batch] tail_ids are 2, wanted 1 as num_tokens"),
    (([[0]], [1, 2], [0], [0]), "[batch] starts begin with 1 or fall, wanted 0 and rising numbers"),
    (([[0], [1]], [0, 5, 3], [0, 0], [0, 1]), "[batch] starts begin with 0 or fall, wanted 0 and rising numbers"),
    (([[0]], [0, 1, 2], [0, 0], [0, 1]), "[batch] block_table has 1 rows, wanted 2 or more as num_tokens"),
    (([0], [0, 1], [0], [0]), "[batch] block_table are [1], wanted 2 axes: requests, blocks"),
    (([[0.5]], [0, 1], [0], [0]), "[batch] block_table are float64, wanted int32 or int64"),
    (([[0], [1, 2]], [0, 1], [0], [0]), "[batch] block_table are [[0], [1, 2]], wanted whole numbers"),
    ((np.zeros((1, 1), np.int16), [0, 1], [0], [0]), "[batch] block_table are int16, wanted int32 or int64"),
    (([[0]], "ab", [0], [0]), "[batch] starts are "),
]


@pytest.mark.parametrize(("arguments", "text"), BATCHES, ids=[text for _, text in BATCHES])
def test_every_wrong_batch_has_a_text(arguments: tuple[Any, Any, Any, Any], text: str) -> None:
    with pytest.raises(qjl.InvalidArgument, match=re.escape(text)):
        Batch(*arguments)


def test_keys_alone(rows: Rows) -> None:
    scene = Scene(rows)
    places = (0, scene.pages, scene.tails, scene.arguments["batch"], scene.arguments["queries"])
    for name in ("keys", "values"):
        with pytest.raises(qjl.InvalidArgument, match=rf"\[attend\] found {name} alone, wanted keys and values, or neither"):
            scene.cache.attend(*places, **{name: scene.arguments[name]})


def test_an_empty_batch_is_nothing(rows: Rows) -> None:
    scene = Scene(rows)
    before = scene.pages.tobytes() + scene.tails.tobytes()
    out = scene.cache.step(0, scene.pages, scene.tails, Batch([], [0], [], []), rows(0, 4, 64), rows(0, 2, 64), rows(0, 2, 64))
    assert out.shape == (0, 4, 64)
    assert scene.pages.tobytes() + scene.tails.tobytes() == before
