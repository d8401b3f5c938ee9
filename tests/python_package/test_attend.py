"""attend, step and merge beside attention in float64 (model.py), and what they do with layouts of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import qjl
from model import Rows, attend, bound

LENGTHS = (40, 128, 300)  # of the sequences


@pytest.fixture
def filled(rows: Rows) -> tuple[qjl.KvCache, list[int]]:
    """Exact rows, so that the model needs no codec: what is judged is the arithmetic of the calls."""
    cache = qjl.KvCache(2, 2, 64, "f16", threads=2)
    ids = [cache.create() for _ in LENGTHS]
    for sequence, tokens in zip(ids, LENGTHS, strict=True):
        for layer in range(2):
            cache.append(sequence, layer, rows(2, tokens, 64), rows(2, tokens, 64))
    return cache, ids


OPTIONS = [{}, {"scale": 0.3}, {"soft_cap": 5.0}, {"window": 1}, {"window": 50, "scale": -0.1, "soft_cap": 30.0}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("tokens", [1, 7, 40])
def test_cached_tokens(filled: tuple[qjl.KvCache, list[int]], rows: Rows, tokens: int, options: dict[str, float]) -> None:
    cache, ids = filled
    queries = rows(3, 6, tokens, 64)
    out, lse = cache.attend(1, queries, ids, lse=True, **options)
    assert (out.shape, lse.shape) == ((3, tokens, 6, 64), (3, 6, tokens))
    assert out.dtype == lse.dtype == np.float32
    for i, sequence in enumerate(ids):
        keys, values = cache.read(sequence, 1, 0, LENGTHS[i])
        wanted = attend(queries[i], keys, values, **options)
        out_bound, lse_bound = bound(queries[i], keys, values, options.get("scale"))
        np.testing.assert_allclose(out[i], wanted[0], rtol=0, atol=out_bound)
        np.testing.assert_allclose(lse[i], wanted[1], rtol=0, atol=lse_bound)
    np.testing.assert_array_equal(out, cache.attend(1, queries, ids, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("tokens", [1, 33])
def test_new_tokens_follow_the_cached_ones(
    filled: tuple[qjl.KvCache, list[int]], rows: Rows, tokens: int, options: dict[str, float]
) -> None:
    cache, ids = filled
    queries, keys, values = rows(3, 4, tokens, 64), rows(3, 2, tokens, 64), rows(3, 2, tokens, 64)
    out, lse = cache.attend(0, queries, ids, keys=keys, values=values, lse=True, **options)
    assert [cache.num_tokens(sequence, 0) for sequence in ids] == list(LENGTHS), "attend appends nothing"
    for i, sequence in enumerate(ids):
        old = cache.read(sequence, 0, 0, LENGTHS[i])
        both = [np.concatenate(pair, axis=1) for pair in zip(old, (keys[i], values[i]), strict=True)]
        wanted = attend(queries[i], *both, **options)
        out_bound, lse_bound = bound(queries[i], *both, options.get("scale"))
        np.testing.assert_allclose(out[i], wanted[0], rtol=0, atol=out_bound)
        np.testing.assert_allclose(lse[i], wanted[1], rtol=0, atol=lse_bound)


def test_step_is_attend_then_append(filled: tuple[qjl.KvCache, list[int]], rows: Rows) -> None:
    cache, ids = filled
    others = [cache.fork(sequence) for sequence in ids]
    queries, keys, values = rows(3, 4, 100, 64), rows(3, 2, 100, 64), rows(3, 2, 100, 64)
    out, lse = cache.step(0, queries, ids, keys, values, lse=True, soft_cap=9.0)
    wanted = cache.attend(0, queries, others, keys=keys, values=values, lse=True, soft_cap=9.0)
    np.testing.assert_array_equal(out, wanted[0])
    np.testing.assert_array_equal(lse, wanted[1])
    cache.append(others, 0, keys, values)
    for one, other in zip(ids, others, strict=True):
        length = cache.num_tokens(one, 0)
        assert cache.num_tokens(other, 0) == length
        np.testing.assert_array_equal(cache.read(one, 0, 0, length), cache.read(other, 0, 0, length))
    assert cache.num_tokens(ids[2], 0) == 400


def test_step_changes_nothing_when_a_row_has_no_room(rows: Rows) -> None:
    cache = qjl.KvCache(1, 2, 64, "f16", max_tokens=2 * 128)
    ids = [cache.create(), cache.create()]
    cache.append(ids, 0, rows(2, 2, 100, 64), rows(2, 2, 100, 64))
    queries, keys, values = rows(2, 2, 200, 64), rows(2, 2, 200, 64), rows(2, 2, 200, 64)
    with pytest.raises(qjl.OutOfPages, match=r"\[append\] 4 pages are wanted, 2 of 2 are free"):
        cache.step(0, queries, ids, keys, values)
    assert [cache.num_tokens(sequence) for sequence in ids] == [100, 100]
    assert cache.free_pages() == 2


def test_arrays_are_read_where_they_lie(filled: tuple[qjl.KvCache, list[int]], rows: Rows) -> None:
    """Token-major arrays, slices, broadcasts, read-only and 16-bit ones give the bits of plain copies."""
    cache, ids = filled
    plain = [rows(3, heads, 20, 64) for heads in (4, 2, 2)]
    wanted = cache.attend(0, plain[0], ids, keys=plain[1], values=plain[2])

    def token_major(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)

    def sliced(x: np.ndarray) -> np.ndarray:
        large = np.full((6, x.shape[1] + 1, 45, 72), np.nan, x.dtype)
        large[1::2, 1:, 3:43:2, 4:68] = x
        return large[1::2, 1:, 3:43:2, 4:68]

    def read_only(x: np.ndarray) -> np.ndarray:
        copied = x.copy()
        copied.setflags(write=False)
        return copied

    for change in (token_major, sliced, read_only, lambda x: x.astype(np.float16)):
        q, k, v = (change(x) for x in plain)
        np.testing.assert_array_equal(cache.attend(0, q, ids, keys=k, values=v), wanted)
    one = np.broadcast_to(plain[1][:1], (3, 2, 20, 64))
    np.testing.assert_array_equal(
        cache.attend(0, plain[0], ids, keys=one, values=plain[2]),
        cache.attend(0, plain[0], ids, keys=one.copy(), values=plain[2]),
    )


def test_nothing_to_see(rows: Rows) -> None:
    cache = qjl.KvCache(1, 2, 64)
    ids = [cache.create(), cache.create()]
    cache.append(ids[1], 0, rows(2, 1, 64), rows(2, 1, 64))
    out, lse = cache.attend(0, rows(2, 2, 1, 64), ids, lse=True)
    assert (out[0] == 0).all() and (lse[0] == -np.inf).all()
    assert np.isfinite(lse[1]).all()
    assert cache.attend(0, rows(2, 4, 0, 64), ids).shape == (2, 0, 4, 64)
    assert cache.attend(0, rows(0, 4, 3, 64), []).shape == (0, 3, 4, 64)


def test_merge_joins_parts(rows: Rows) -> None:
    """Attention over two halves of the tokens, merged, is attention over all: exact rows, so float64 judges."""
    cache = qjl.KvCache(1, 2, 64, "f16")
    keys, values, queries = rows(2, 90, 64), rows(2, 90, 64), rows(1, 4, 1, 64)
    parts = []
    for first, last in ((0, 30), (30, 30), (30, 90)):
        sequence = cache.create()
        cache.append(sequence, 0, keys[:, first:last], values[:, first:last])
        parts.append(cache.attend(0, queries, [sequence], lse=True))
    out, lse = qjl.merge(*qjl.merge(*parts[0], *parts[1]), *parts[2])
    wanted = attend(queries[0], keys, values)
    out_bound, lse_bound = bound(queries[0], keys, values)
    np.testing.assert_allclose(out[0], wanted[0], rtol=0, atol=out_bound)
    np.testing.assert_allclose(lse[0], wanted[1], rtol=0, atol=lse_bound)
    out, lse = qjl.merge(*parts[1], *parts[1])
    assert (out == 0).all() and (lse == -np.inf).all()


def test_merge_of_many_rows_and_wrong_parts(rows: Rows) -> None:
    out_a, out_b, lse_a, lse_b = rows(2, 3, 4, 8), rows(2, 3, 4, 8), rows(2, 4, 3), rows(2, 4, 3)
    lse_a[0, 1, 2], lse_b[1, 3, 0] = -np.inf, -np.inf
    out_a[0, 2, 1] = np.nan  # a part without weight may hold anything
    out, lse = qjl.merge(out_a.transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3), lse_a, out_b, lse_b)
    both = np.logaddexp(lse_a.astype(np.float64), lse_b)
    weight = np.exp(lse_a - both).transpose(0, 2, 1)[..., None]
    wanted = np.where(weight > 0, out_a, 0) * weight + out_b * (1 - weight)
    # exp, log and two products in fp32 of numbers below 5: a few units of 2^-23 each
    np.testing.assert_allclose(out, wanted, rtol=0, atol=5e-6)
    np.testing.assert_allclose(lse, both, rtol=0, atol=2e-6)
    with pytest.raises(qjl.InvalidArgument, match=r"\[merge\] lse is \[2, 3, 4\], wanted \[2, 4, 3\] beside these outputs"):
        qjl.merge(out_a, lse_a.transpose(0, 2, 1).copy(), out_b, lse_b)
    for wrong in (lse_a[:1], lse_a[:, :, :2].copy(), lse_a[:, :3].copy()):
        with pytest.raises(qjl.InvalidArgument, match=r"\[merge\] lse is \[.*\], wanted \[2, 4, 3\] beside these outputs"):
            qjl.merge(out_a, wrong, out_b, lse_b)
    with pytest.raises(qjl.InvalidArgument, match=r"\[merge\] lse is not float32 of the host"):
        qjl.merge(out_a, lse_a.astype(np.float16), out_b, lse_b)
    with pytest.raises(qjl.InvalidArgument, match=r"\[merge\] the second result is \[4, 2, 8\], wanted \[4, 3, 8\]"):
        qjl.merge(out_a, lse_a, out_b[:, :2], lse_b[:, :, :2])
    with pytest.raises(qjl.InvalidArgument, match=r"\[merge\] the second outputs have a batch of 1, wanted 2"):
        qjl.merge(out_a, lse_a, out_b[:1], lse_b[:1])
    with pytest.raises(qjl.InvalidArgument, match="16-bit"):
        qjl.merge(out_a.astype(np.float16), lse_a, out_b, lse_b)
    for bad in (np.nan, np.inf):
        lse_b[1, 1, 1] = bad
        with pytest.raises(qjl.InvalidArgument, match=f"lse holds {bad}"):
            qjl.merge(out_a, lse_a, out_b, lse_b)
