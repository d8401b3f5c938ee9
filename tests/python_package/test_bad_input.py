"""Every wrong argument is an error of the package that names what was found and wanted, and leaves the cache as it was."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qjl

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "examples/plans/smollm2-135m-2.7.json"


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


class Refusing:
    def __dlpack__(self, **_: Any) -> Any:
        raise RuntimeError("this tensor exports nothing")


APPENDS: list[tuple[Callable[[], tuple[Any, Any]], str]] = [
    (
        lambda: (ones(3, 5, 64), ones(3, 5, 64)),
        "[append] keys are [3 heads, 5 tokens, 64 channels], wanted [2 heads, tokens, 64 channels]",
    ),
    (lambda: (ones(2, 5, 64), ones(2, 5, 32)), "[append] values are [2 heads, 5 tokens, 32 channels], wanted"),
    (lambda: (ones(2, 5, 64), ones(2, 4, 64)), "[append] values have 4 tokens, wanted 5 as the keys"),
    (lambda: (ones(1, 2, 5, 64), ones(2, 5, 64)), "[append] keys are [1, 2, 5, 64], wanted 3 axes: heads, tokens, channels"),
    (lambda: (ones(2, 5, 64, dtype=np.float64), ones(2, 5, 64)), "[append] keys are float64, wanted float32, float16 or bfloat16"),
    (lambda: (ones(2, 5, 64), ones(2, 5, 64, dtype=np.int32)), "[append] values are int32, wanted float32, float16 or bfloat16"),
    (
        lambda: (ones(2, 5, 64).astype(">f4"), ones(2, 5, 64)),
        "[append] keys are of type ndarray and show no memory, wanted a NumPy array",
    ),
    (lambda: (ones(2, 5, 128)[:, :, ::2], ones(2, 5, 64)), "[append] keys have channels 2 numbers apart, wanted contiguous ones"),
    (lambda: (ones(2, 5, 64)[:, :, ::-1], ones(2, 5, 64)), "[append] keys have channels -1 numbers apart, wanted contiguous ones"),
    (
        lambda: (ones(2, 5, 64)[:, ::-1], ones(2, 5, 64)),
        "[append] keys go backwards in axis 1 (stride -64), wanted strides of 0 or more",
    ),
    (lambda: ([[[1.0] * 64] * 5] * 2, ones(2, 5, 64)), "[append] keys are of type list and show no memory, wanted a NumPy array"),
    (lambda: (None, ones(2, 5, 64)), "[append] keys are of type NoneType and show no memory, wanted a NumPy array"),
    (lambda: (Refusing(), ones(2, 5, 64)), "[append] keys are of type Refusing and show no memory, wanted a NumPy array"),
    (
        lambda: (ones(2, 5, 64), np.full((2, 5, 64), np.nan, np.float32)),
        "[append] values hold nan at head 0, token 0, channel 0, wanted",
    ),
    (
        lambda: (ones(2, 5, 64) * 7e4, ones(2, 5, 64)),
        "[append] keys hold 70000 at head 0, token 0, channel 0, wanted finite numbers that",
    ),
]


@pytest.fixture
def cache() -> qjl.KvCache:
    made = qjl.KvCache(2, 2, 64, "k3v2", max_tokens=512)
    sequence = made.create()
    for layer in range(2):
        made.append(sequence, layer, ones(2, 130, 64), ones(2, 130, 64))
    return made


def picture(cache: qjl.KvCache) -> tuple[Any, ...]:
    rows = [cache.read(1, layer, 0, cache.num_tokens(1, layer)) for layer in range(2)]
    report = cache.memory_report()
    report["total"] -= report.pop("scratch")  # an attend that was refused may have worked before
    return report, cache.free_pages(), [x.tobytes() for pair in rows for x in pair]


@pytest.mark.parametrize(("arrays", "text"), APPENDS, ids=[text[9:50] for _, text in APPENDS])
def test_append(cache: qjl.KvCache, arrays: Callable[[], tuple[Any, Any]], text: str) -> None:
    before = picture(cache)
    with pytest.raises(qjl.InvalidArgument, match=re.escape(text)):
        cache.append(1, 0, *arrays())
    assert picture(cache) == before


CALLS: list[tuple[Callable[[qjl.KvCache], Any], str]] = [
    (lambda c: c.append(9, 0, ones(2, 1, 64), ones(2, 1, 64)), "[append] sequence 9 does not exist, wanted one of the 1 that live"),
    (lambda c: c.append(1, 2, ones(2, 1, 64), ones(2, 1, 64)), "[append] layer is 2, wanted 0 to 1"),
    (lambda c: c.append(1, -1, ones(2, 1, 64), ones(2, 1, 64)), "[append] layer is -1, wanted 0 to 1"),
    (
        lambda c: c.append([1, 1], 0, ones(2, 2, 1, 64), ones(2, 2, 1, 64)),
        "[append] sequence 1 comes twice, wanted each sequence once",
    ),
    (
        lambda c: c.append([1], 0, ones(2, 2, 1, 64), ones(2, 2, 1, 64)),
        "[append] keys have a batch of 2, wanted 1 as the sequences",
    ),
    (
        lambda c: c.append("1", 0, ones(2, 1, 64), ones(2, 1, 64)),
        "[append] sequences are of type str, wanted a list of whole numbers",
    ),
    (
        lambda c: c.append(1.0, 0, ones(2, 1, 64), ones(2, 1, 64)),
        "[append] sequences are of type float, wanted a list of whole numbers",
    ),
    (lambda c: c.fork(9), "[fork] sequence 9 does not exist"),
    (lambda c: c.drop(0), "[drop] sequence 0 does not exist"),
    (lambda c: c.truncate(1, 131), "[truncate] num_tokens is 131, wanted 0 to the length 130"),
    (lambda c: c.truncate(1, -1), "[truncate] num_tokens is -1, wanted 0 to the length 130"),
    (lambda c: c.reserve(1, -1), "[reserve] num_tokens is -1, wanted 0 or more"),
    (lambda c: c.num_tokens(1, 2), "[num_tokens] layer is 2, wanted 0 to 1"),
    (lambda c: c.read(1, 0, 5, 131), "[read] the tokens are 5 to 131, wanted a stretch of the 130 in layer 0"),
    (lambda c: c.read(1, 0, 7, 5), "[read] the tokens are 7 to 5, wanted a stretch of the 130 in layer 0"),
    (lambda c: c.read(1, 0, -3, 5), "[read] the tokens are -3 to 5, wanted a stretch of the 130 in layer 0"),
    (lambda c: c.read(1, 0, -(2**62), 2**62), "wanted a stretch of the 130 in layer 0"),
    (lambda c: c.read(1, 5, 0, 1), "layer is 5, wanted 0 to 1"),
    (lambda c: c.page(1, 0, 0, 1), "[page] page is 1, wanted one of the 1 sealed ones"),
    (lambda c: c.page(1, 0, 2, 0), "[page] kv head is 2, wanted 0 to 1"),
    (lambda c: c.page_bytes(2), "[page_bytes] layer is 2, wanted 0 to 1"),
    (lambda c: c.cache_type(-1), "[cache_type] layer is -1, wanted 0 to 1"),
    (lambda c: c.rope(2), "[rope] layer is 2, wanted 0 to 1"),
    (lambda c: c.cache_type(2), "[cache_type] layer is 2, wanted 0 to 1"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [9]), "[attend] sequence 9 does not exist"),
    (lambda c: c.attend(3, ones(1, 2, 1, 64), [1]), "[attend] layer is 3, wanted 0 to 1"),
    (lambda c: c.attend(0, ones(2, 1, 64), [1]), "[attend] queries are [2, 1, 64], wanted 4 axes: batch, heads, tokens, channels"),
    (lambda c: c.attend(0, ones(2, 2, 1, 64), [1]), "[attend] queries have a batch of 2, wanted 1 as the sequences"),
    (lambda c: c.attend(0, ones(1, 3, 1, 64), [1]), "[attend] queries have 3 heads, wanted a multiple of the 2 kv heads"),
    (lambda c: c.attend(0, ones(1, 2, 1, 96), [1]), "[attend] queries are [2 heads, 1 tokens, 96 channels], wanted"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), 1), "[attend] sequences are of type int, wanted a list of whole numbers"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [1.5]), "[attend] sequences hold 1.5, wanted whole numbers"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [2**70]), "[attend] sequences hold 1180591620717411303424, wanted whole numbers"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), "1"), "[attend] sequences are of type str, wanted a list of whole numbers"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), b"1"), "[attend] sequences are of type bytes, wanted a list of whole numbers"),
    (
        lambda c: c.attend(0, ones(1, 2, 1, 64), [1], scale=0.0),
        "[attend] scale is 0, wanted another number, or None for 1 / sqrt(head_dim)",
    ),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [1], scale=float("nan")), "[attend] softmax_scale is nan, wanted a finite number"),
    (
        lambda c: c.attend(0, ones(1, 2, 1, 64), [1], soft_cap=-1.0),
        "[attend] logit_soft_cap is -1, wanted a finite number, 0 or more",
    ),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [1], window=0), "[attend] window is 0, wanted 1 or more, or None"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [1], window=-5), "[attend] window is -5, wanted 1 or more, or None"),
    (lambda c: c.attend(0, ones(1, 2, 1, 64) * np.inf, [1]), "[attend] queries hold inf at head 0, token 0, channel 0"),
    (
        lambda c: c.attend(0, ones(1, 2, 1, 64), [1], keys=ones(1, 2, 1, 64)),
        "[attend] found keys alone, wanted keys and values, or neither",
    ),
    (lambda c: c.attend(0, ones(1, 2, 1, 64), [1], values=ones(1, 2, 1, 64)), "[attend] found values alone"),
    (
        lambda c: c.attend(0, ones(1, 2, 1, 64), [1], keys=ones(1, 2, 2, 64), values=ones(1, 2, 2, 64)),
        "[attend] keys have 2 tokens, wanted 1 as the queries",
    ),
    (
        lambda c: c.attend(0, ones(1, 2, 2, 64), [1], keys=ones(1, 2, 2, 64), values=ones(1, 2, 0, 64)),
        "[attend] values have 0 tokens, wanted 2 as the queries",
    ),
    (
        lambda c: c.attend(0, ones(1, 4, 1, 64), [1], keys=ones(1, 4, 1, 64), values=ones(1, 2, 1, 64)),
        "[attend] chunk_keys are [4 heads, 1 tokens, 64 channels], wanted [2 heads, tokens, 64 channels]",
    ),
    (
        lambda c: c.step(0, ones(1, 2, 1, 64), [1], None, None),
        "[step] found no keys and values, wanted those of the queries' tokens",
    ),
    (
        lambda c: c.step(0, ones(2, 2, 1, 64), [1, 1], ones(2, 2, 1, 64), ones(2, 2, 1, 64)),
        "[append] sequence 1 comes twice, wanted each sequence once",
    ),
    (
        lambda c: c.step(0, ones(1, 2, 1, 64), [1], ones(1, 2, 1, 64) * 1e30, ones(1, 2, 1, 64)),
        "[attend] chunk_keys hold 1e+30 at head 0, token 0, channel 0",
    ),
]


@pytest.mark.parametrize(("call", "text"), CALLS, ids=[text[:60] for _, text in CALLS])
def test_calls(cache: qjl.KvCache, call: Callable[[qjl.KvCache], Any], text: str) -> None:
    before = picture(cache)
    with pytest.raises(qjl.InvalidArgument, match=re.escape(text)):
        call(cache)
    assert picture(cache) == before


def plan(**changes: Any) -> dict[str, Any]:
    return json.loads(PLAN.read_text(encoding="utf-8")) | changes


def shape(num_layers: int) -> dict[str, Any]:
    return {"num_layers": num_layers, "num_kv_heads": 3, "head_dim": 64}


CACHES: list[tuple[Callable[[], Any], type[qjl.QjlError], str]] = [
    (lambda: qjl.KvCache(0, 2, 64), qjl.InvalidArgument, "[cache] num_layers is 0, wanted 1 to 4096"),
    (lambda: qjl.KvCache(1, 0, 64), qjl.InvalidArgument, "[cache] num_kv_heads is 0, wanted 1 to 4096"),
    (lambda: qjl.KvCache(1, 2, 72), qjl.InvalidArgument, "head_dim"),
    (lambda: qjl.KvCache(1, 2, 64, "k9v9"), qjl.InvalidArgument, "[cache type] found `k9v9`, wanted f16, k2v2,"),
    (lambda: qjl.KvCache(1, 2, 64, "k3v2:sinks=17"), qjl.InvalidArgument, "[cache] sink_tokens is 17, wanted 0 to 16"),
    (lambda: qjl.KvCache(1, 2, 64, max_tokens=0), qjl.InvalidArgument, "[cache] max_tokens is 0, wanted 1 or more"),
    (lambda: qjl.KvCache(1, 2, 64, max_tokens=2**62), qjl.InvalidArgument, "[cache] max_pages is"),
    (
        lambda: qjl.KvCache(1, 2, 64, tail_dtype="float32"),
        qjl.InvalidArgument,
        "[cache] tail_dtype is float32, wanted float16 or bfloat16",
    ),
    (
        lambda: qjl.KvCache(1, 2, 64, rope_pairs="both"),
        qjl.InvalidArgument,
        "[cache] rope_pairs is `both`, wanted `halves` or `interleaved`",
    ),
    (lambda: qjl.KvCache(1, 2, 64, rope=[0.1] * 33), qjl.InvalidArgument, "RoPE"),
    (lambda: qjl.KvCache(1, 2, 64, rope=[float("nan")]), qjl.InvalidArgument, "RoPE"),
    (
        lambda: qjl.KvCache(2, 2, 64, rope=[[0.1]]),
        qjl.InvalidArgument,
        "[cache] rope has 1 rows, wanted numbers, or a list of them for each of 2",
    ),
    (lambda: qjl.KvCache(2, 2, 64, rope=["a", "b"]), qjl.InvalidArgument, "[cache] rope"),
    (lambda: qjl.KvCache(2, 2, 64, rope=[[0.1], 0.1]), qjl.InvalidArgument, "[cache] rope is [[0.1], 0.1], wanted numbers"),
    (lambda: qjl.KvCache(1, 2, 64, rope=3.0), qjl.InvalidArgument, "[cache] rope is 3.0, wanted numbers"),
    (lambda: qjl.KvCache(1, 2, 64, threads=-1), qjl.InvalidArgument, "[cache] threads is -1, wanted 0 to 1024"),
    (lambda: qjl.KvCache(1, 2, 64, threads=1025), qjl.InvalidArgument, "[cache] threads is 1025, wanted 0 to 1024"),
    (lambda: qjl.KvCache(30, 3, 64, "k2v2", plan=PLAN), qjl.InvalidArgument, "[cache] found the cache type `k2v2` beside a plan"),
    (lambda: qjl.KvCache(30, 3, 64, str(PLAN), plan=PLAN), qjl.InvalidArgument, "[cache] found a plan beside"),
    (
        lambda: qjl.KvCache(30, 3, 128, plan=PLAN),
        qjl.InvalidArgument,
        "is for (layers, kv heads, head_dim) (30, 3, 64), wanted (30, 3, 128)",
    ),
    (lambda: qjl.KvCache(30, 3, 64, plan="absent.json"), qjl.FileError, "[plan] found no file `absent.json` that can be read"),
    (lambda: qjl.KvCache(30, 3, 64, plan=ROOT / "LICENSE"), qjl.BadFile, "is no plan"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(version=2)), qjl.BadFile, "version 2, wanted 'qjl plan' version 1"),
    (
        lambda: qjl.KvCache(30, 3, 64, plan=plan(layers=[{"keys": "jl", "values": "l4"}])),
        qjl.BadFile,
        "[plan] found code `jl`, wanted one of f16, s1, s2, l4, l8, l16",
    ),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(layers=[{"keys": "l8"}])), qjl.BadFile, "has no `values`, wanted one"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(layers=[7] * 30)), qjl.BadFile, "has no `keys`, wanted one"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(layers=[])), qjl.BadFile, "has 0 layers, wanted 30 and 1 at least"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(layers=[], model=shape(0))), qjl.BadFile, "has 0 layers, wanted 0 and 1 at least"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(model=shape(29))), qjl.BadFile, "has 30 layers, wanted 29 and 1 at least"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(seed="1")), qjl.BadFile, "`seed` of the plan is '1', wanted a int"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(seed=True)), qjl.BadFile, "`seed` of the plan is True, wanted a int"),
    (lambda: qjl.KvCache(30, 3, 64, plan=plan(seed=-1)), qjl.InvalidArgument, "[cache type] found"),
    (lambda: qjl.PageCodec(65), qjl.InvalidArgument, "head_dim"),
    (lambda: qjl.PageCodec(64, "x"), qjl.InvalidArgument, "[cache type] found `x`"),
    (
        lambda: qjl.PageCodec(64).encode(ones(127, 64), ones(128, 64)),
        qjl.InvalidArgument,
        "[encode] keys have 127 tokens, wanted 128",
    ),
    (
        lambda: qjl.PageCodec(64).encode(ones(128, 64), ones(128, 64), 17),
        qjl.InvalidArgument,
        "[encode] found num_sinks 17, wanted 0 to 16",
    ),
    (lambda: qjl.PageCodec(64).decode(b"", b"1"), qjl.InvalidArgument, "[decode_keys] found a page of 0 + 1 bytes, wanted 16 +"),
    (
        lambda: qjl.PageCodec(64, "k4v3").decode(*qjl.PageCodec(64, "k3v4").encode(ones(128, 64), ones(128, 64))),
        qjl.InvalidArgument,
        "[decode_keys] found",
    ),
]


@pytest.mark.parametrize(("make", "kind", "text"), CACHES, ids=[text[:60] for _, _, text in CACHES])
def test_caches(make: Callable[[], Any], kind: type[qjl.QjlError], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        make()


def test_errors_are_also_pythons_own() -> None:
    bases = {
        qjl.InvalidArgument: ValueError,
        qjl.OutOfPages: MemoryError,
        qjl.Unsupported: NotImplementedError,
        qjl.FileError: OSError,
        qjl.BadFile: Exception,
    }
    for error, base in bases.items():
        assert issubclass(error, qjl.QjlError) and issubclass(error, base)
    with pytest.raises(ValueError, match=r"^\[fork\] sequence 4 does not exist"):
        qjl.KvCache(1, 1, 64).fork(4)


def test_a_cache_is_no_value(cache: qjl.KvCache) -> None:
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copying(cache)
