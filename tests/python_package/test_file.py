"""Saved caches: what goes in comes out, in another process too, and what is no such file is refused. The C++ tests judge the file
itself; here it is the way there and back."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import qjl
from model import Rows

ROPE = [10000.0 ** (-i / 32) for i in range(32)]


@pytest.fixture
def saved(rows: Rows, tmp_path: Path) -> tuple[Path, qjl.KvCache]:
    cache = qjl.KvCache(2, 2, 64, "k4v2:seed=3", rope=ROPE, rope_pairs="interleaved", tail_dtype="bfloat16")
    dropped, first = cache.create(), cache.create()
    cache.drop(dropped)
    for layer in range(2):
        cache.append(first, layer, rows(2, 300, 64), rows(2, 300, 64))
    second = cache.fork(first)
    cache.truncate(second, 140)
    path = tmp_path / "saved.qjlkv.safetensors"
    ids = [list(range(301)), list(range(140))]
    exact = {"window.keys": rows(1, 2, 5, 64), "window.values": rows(3, 4).astype(np.float16)}
    types = ["full_attention", "full_attention", "sliding_attention"]
    cache.save(path, token_ids=ids, model="tiny", layer_types=types, notes={"who": "the test, ä"}, exact=exact)
    return path, cache


def test_there_and_back(saved: tuple[Path, qjl.KvCache], rows: Rows) -> None:
    path, cache = saved
    file = qjl.CacheFile(path)
    assert (file.model, file.num_tokens, file.notes) == ("tiny", [300, 140], {"who": "the test, ä"})
    assert file.layer_types == ["full_attention", "full_attention", "sliding_attention"]
    assert file.token_ids == [list(range(301)), list(range(140))]
    rows_again = np.random.default_rng(5)  # those of the fixture: 4 x [2, 300, 64], then the exact ones
    for _ in range(4):
        rows_again.standard_normal((2, 300, 64))
    exact = file.exact()
    assert {name: (kind, array.shape) for name, (kind, array) in exact.items()} == {
        "window.keys": ("float32", (1, 2, 5, 64)),
        "window.values": ("float16", (3, 4)),
    }
    np.testing.assert_array_equal(exact["window.keys"][1], rows_again.standard_normal((1, 2, 5, 64)).astype(np.float16))
    np.testing.assert_array_equal(exact["window.values"][1], rows_again.standard_normal((3, 4)).astype(np.float16))

    loaded = qjl.KvCache.load(path, threads=1)
    assert (loaded.rope_pairs, loaded.rope(1), loaded.tail_dtype, loaded.cache_type()) == (
        "interleaved",
        ROPE,
        "bfloat16",
        "k4v2:seed=3",
    )
    queries, keys, values = rows(2, 4, 3, 64), rows(2, 2, 3, 64), rows(2, 2, 3, 64)
    for layer in range(2):  # a loaded cache goes on as the old one does
        for _ in range(2):
            found = loaded.step(layer, queries, loaded.sequences(), keys, values)
            np.testing.assert_array_equal(found, cache.step(layer, queries, cache.sequences(), keys, values))


def test_another_process_reads_the_same(saved: tuple[Path, qjl.KvCache]) -> None:
    path, cache = saved
    code = (
        "import sys, qjl; c = qjl.KvCache.load(sys.argv[1]); s = c.sequences()[0];"
        "sys.stdout.buffer.write(b''.join(x.tobytes() for layer in (0, 1) for x in c.read(s, layer, 0, 300)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    sequence = cache.sequences()[0]
    assert done.stdout == b"".join(x.tobytes() for layer in (0, 1) for x in cache.read(sequence, layer, 0, 300))


def truncated(data: bytes) -> bytes:
    return data[:-1]


def foreign(data: bytes) -> bytes:
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(header)) + header


def of_the_future(data: bytes) -> bytes:
    return data.replace(b'"format_version":"1"', b'"format_version":"7"')


def of_long_pages(data: bytes) -> bytes:
    return data.replace(b'"num_pages":"', b'"num_pages":"9')


@pytest.mark.parametrize("damage", [truncated, foreign, of_the_future, of_long_pages, lambda _: b"", lambda _: b"\xff" * 100])
def test_bad_files(saved: tuple[Path, qjl.KvCache], tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    data = saved[0].read_bytes()
    bad = tmp_path / "bad.qjlkv.safetensors"
    bad.write_bytes(damage(data))
    assert bad.read_bytes() != data
    with pytest.raises(qjl.BadFile, match="wanted"):
        qjl.CacheFile(bad)


def test_errors(saved: tuple[Path, qjl.KvCache], tmp_path: Path, rows: Rows) -> None:
    path, cache = saved
    before = path.read_bytes()
    with pytest.raises(qjl.FileError, match="absent"):
        qjl.KvCache.load(tmp_path / "absent")
    with pytest.raises(qjl.FileError):
        cache.save(tmp_path / "no folder" / "x")
    with pytest.raises(TypeError):
        cache.save(3)  # type: ignore[arg-type]
    with pytest.raises(qjl.InvalidArgument, match="sequence 9 does not exist"):
        cache.save(path, [9])
    with pytest.raises(qjl.InvalidArgument, match="token"):
        cache.save(path, token_ids=[[1, 2], [3]])
    with pytest.raises(qjl.InvalidArgument, match=re.escape("[save] x have the stride 64 in axis 1, wanted 1: a contiguous array")):
        cache.save(path, exact={"x": rows(2, 64).T})
    with pytest.raises(qjl.InvalidArgument, match=re.escape("[save] x are float64, wanted float32, float16 or bfloat16")):
        cache.save(path, exact={"x": np.zeros(3)})
    assert path.read_bytes() == before
    with pytest.raises(qjl.InvalidArgument):
        qjl.KvCache.load(path, max_tokens=128)
    file = qjl.CacheFile(path)
    file.check_model(qjl.KvCache(2, 2, 64, rope=ROPE))
    for other in (qjl.KvCache(3, 2, 64, rope=ROPE), qjl.KvCache(2, 2, 128, rope=ROPE), qjl.KvCache(2, 2, 64, rope=ROPE[:-1])):
        with pytest.raises(qjl.InvalidArgument, match="wanted"):
            file.check_model(other)
