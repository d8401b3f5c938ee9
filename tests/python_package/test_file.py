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


# What stands in the header, what stands there instead, and what the reader says of it.
HEADERS = {
    "a tensor twice": ('"pages.1"', '"pages.0"', '"pages.0" twice in the header, wanted it once'),
    "a word twice": ('"num_layers"', '"head_dim"', '"head_dim" twice in the metadata, wanted it once'),
    "an escape": ('"model":"tiny"', r'"model":"\q"', "wanted an escape"),
    "a half pair": ('"model":"tiny"', r'"model":"\ud800"', "wanted the second half of a surrogate pair"),
    "a pair of two first halves": ('"model":"tiny"', r'"model":"\ud800\ud800"', "wanted the second half of a surrogate pair"),
    "digits": ('"model":"tiny"', r'"model":"\u00g0"', "wanted four hexadecimal digits"),
    "a line break": ('"model":"tiny"', '"model":"ti\ny"', "wanted the rest of a string"),
    "a large number": (
        '"data_offsets":[0,',
        '"data_offsets":[9223372036854775808,',
        "wanted a whole number of 0 or more that fits 63 bits",
    ),
    "less than nothing": ('"data_offsets":[0,', '"data_offsets":[-0,', "wanted a whole number of 0 or more that fits 63 bits"),
    "too large a tensor": ('"shape":[2,', '"shape":[4611686018427387904,4,', "a tensor that no memory holds"),
    "no dtype": ('"dtype":"U8",', "", "has 2 fields and 2 offsets, wanted dtype, shape and data_offsets"),
    "three offsets": (
        '"data_offsets":[0,',
        '"data_offsets":[0,0,',
        "has 3 fields and 3 offsets, wanted dtype, shape and data_offsets",
    ),
    "an end before the begin": (
        '"data_offsets":[0,',
        '"data_offsets":[99999999,',
        "wanted dtype, shape and data_offsets [begin, end]",
    ),
    "a second half beyond": ('"model":"tiny"', r'"model":"\ud800\ue000"', "wanted the second half of a surrogate pair"),
    "fewer tensors than layers": ('"num_layers":"2"', '"num_layers":"9"', "found 14 tensors, wanted 26 by the metadata"),
    "fewer pages than none": ('"num_pages":"2"', '"num_pages":"-1"', 'num_pages is "-1", wanted whole numbers from 0 to'),
    "more pages than can be": ('"num_pages":"2"', '"num_pages":"2147483648"', 'num_pages is "2147483648", wanted whole numbers'),
    "fewer tokens than none": ('"num_tokens":"300,140"', '"num_tokens":"300,-1"', "num_tokens is"),
    "no sequence": ('"num_tokens":"300,140"', '"num_tokens":""', 'num_tokens is "", wanted those of one sequence at least'),
    "a layer type without a name": ("full_attention,full_attention,", "full_attention,,", "wanted words parted by commas"),
    "an exact tensor without a name": ('"exact.window.keys"', '"exact."', "found an exact tensor without a name"),
    "a tensor of no word": ('"exact.window.keys"', '"extra.window.keys"', "found 1 tensors of other names"),
    "more bytes than its shape": ('"F16","shape":[3,4]', '"F16","shape":[3,3]', "has 24 bytes, wanted 18 by its type and shape"),
    "fewer ids than tokens": ('"num_token_ids":"301,', '"num_token_ids":"299,', "wanted 0 or at least num_tokens"),
    "another seed": ('"seed":"3"', '"seed":"4"', 'seed is "4", wanted 3 as in cache'),
    "a cache type": ('"cache":"k4v2:seed=3"', '"cache":"k9v2:seed=3"', "the metadata is of no cache"),
    "bytes that are exact": ('"F16","shape":[3,4]', '"U8","shape":[6,4]', 'the exact tensor "window.values" is of type U8'),
}


@pytest.mark.parametrize("case", HEADERS)
def test_bad_headers(saved: tuple[Path, qjl.KvCache], tmp_path: Path, case: str) -> None:
    found, other, message = HEADERS[case]
    data = saved[0].read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + length]
    assert found.encode() in header
    header = header.replace(found.encode(), other.encode(), 1)
    (tmp_path / "bad").write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    with pytest.raises(qjl.BadFile, match=re.escape(message)):
        qjl.CacheFile(tmp_path / "bad")


# A whole header, the bytes behind it, and what the reader says.
BARE = {
    "too short": (b"{", b"", "found a header of 1 bytes, wanted 2 to 1"),
    "ends in a string": (b'{"a', b'b":1}', "has its end at byte 3, wanted the rest of a string"),
    "no colon": (b'{"__metadata__" {}}', b"", 'has "{" at byte 16, wanted ":"'),
    "goes on behind its end": (b'{"__metadata__":{}} {', b"", "wanted nothing more"),
}


@pytest.mark.parametrize("case", BARE)
def test_bare_headers(tmp_path: Path, case: str) -> None:
    header, data, message = BARE[case]
    (tmp_path / "bad").write_bytes(struct.pack("<Q", len(header)) + header + data)
    with pytest.raises(qjl.BadFile, match=re.escape(message)):
        qjl.CacheFile(tmp_path / "bad")


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
    with pytest.raises(qjl.InvalidArgument, match="a sequence stands twice, wanted each once"):
        cache.save(path, [cache.sequences()[0]] * 2)
    with pytest.raises(qjl.InvalidArgument, match='the exact tensor "" has no name'):
        cache.save(path, exact={"": np.zeros(3, np.float32)})
    with pytest.raises(qjl.InvalidArgument, match='a layer type is "", wanted a word'):
        cache.save(path, layer_types=["full_attention", ""])
    with pytest.raises(qjl.InvalidArgument, match="token"):
        cache.save(path, token_ids=[[1, 2], [3]])
    with pytest.raises(qjl.InvalidArgument, match=re.escape("[save] x have the stride 64 in axis 1, wanted 1: a contiguous array")):
        cache.save(path, exact={"x": rows(2, 64).T})
    with pytest.raises(qjl.InvalidArgument, match=re.escape("[save] x are float64, wanted float32, float16 or bfloat16")):
        cache.save(path, exact={"x": np.zeros(3)})
    assert path.read_bytes() == before
    with pytest.raises(qjl.InvalidArgument):
        qjl.KvCache.load(path, max_tokens=128)
    with pytest.raises(qjl.InvalidArgument, match=r"\[load\] max_tokens is -1, wanted 1 or more"):
        qjl.KvCache.load(path, max_tokens=-1)
    file = qjl.CacheFile(path)
    file.check_model(qjl.KvCache(2, 2, 64, rope=ROPE))
    for other in (qjl.KvCache(3, 2, 64, rope=ROPE), qjl.KvCache(2, 2, 128, rope=ROPE), qjl.KvCache(2, 2, 64, rope=ROPE[:-1])):
        with pytest.raises(qjl.InvalidArgument, match="wanted"):
            file.check_model(other)
