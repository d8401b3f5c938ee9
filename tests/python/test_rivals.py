"""Each rival of `qjl eval` against an independent NumPy version, its size, and the theory of QJL as published.

Rows are gaussian with a mean per channel and a few large channels, as keys have. The program works in fp32, NumPy in doubles: decoded
numbers agree to a few fp32 roundings of the largest number, unless a decision lay within such a rounding of a tie. A row has 64 or 128
decisions, each within 1e-5 of a tie with probability below 1e-4: at most 2 % of the rows may differ, and they are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rivals_numpy as rn

HEADS, TOKENS = 2, 256
SEED = 1
KEY_SEED, VALUE_SEED = 16 * SEED, 16 * SEED + 8
TIES = 0.02

Probe = Callable[..., bytes]


def make_rows(dim: int, seed: int = 3, tokens: int = TOKENS) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(2, HEADS, tokens, dim)) + 0.5 * random.normal(size=(2, HEADS, 1, dim))
    rows[0, :, :, [3, dim // 2]] *= 8
    return rows.astype(np.float32)


@pytest.fixture
def code(run_probe: Probe, tmp_path: Path) -> Callable[..., tuple[np.ndarray, float]]:
    """code(type, rows [2, heads, tokens, dim], layers=1, layer=0): decoded rows and bits."""

    def run(cache_type: str, rows: np.ndarray, layers: int = 1, layer: int = 0) -> tuple[np.ndarray, float]:
        rows.tofile(tmp_path / "in")
        _, heads, tokens, dim = rows.shape
        shape = f"{layers},{heads},{dim},{tokens},{layer}"
        bits = float(run_probe("rivals_probe", "code", cache_type, shape, tmp_path / "in", tmp_path / "out"))
        return np.fromfile(tmp_path / "out", np.float32).reshape(rows.shape), bits

    return run


@pytest.fixture
def matrix(run_probe: Probe, tmp_path: Path) -> Callable[..., np.ndarray]:
    def run(kind: str, rows: int, dim: int, seed: int) -> np.ndarray:
        run_probe("rivals_probe", "matrix", kind, rows, dim, seed, tmp_path / "matrix")
        return np.fromfile(tmp_path / "matrix", np.float32).reshape(rows, dim).astype(np.float64)

    return run


def assert_same(found: np.ndarray, wanted: np.ndarray, name: str) -> None:
    """64 fp32 roundings of the largest number of a row; rows with a tie apart."""
    bound = 64 * 2.0**-24 * np.abs(wanted).max(-1, keepdims=True)
    wrong = (np.abs(found - wanted) > bound).any(-1)
    assert wrong.mean() <= TIES, f"{name}: {wrong.sum()} of {wrong.size} rows differ, worst {np.abs(found - wanted).max()}"


DIRECT = {
    "fp8": (rn.e4m3, rn.e4m3, 8.0),
    "q8_0": (rn.q8_0, rn.q8_0, 8.5),
    "q4_0": (rn.q4_0, rn.q4_0, 4.5),
    "int4": (lambda x: rn.int_per_token(x, 4), lambda x: rn.int_per_token(x, 4), 5.0),
    "int2": (lambda x: rn.int_per_token(x, 2), lambda x: rn.int_per_token(x, 2), 3.0),
    "kivi4": (lambda x: rn.int_per_channel(x, 4), lambda x: rn.int_per_token(x, 4), 5.0),
    "kivi2": (lambda x: rn.int_per_channel(x, 2), lambda x: rn.int_per_token(x, 2), 3.0),
}


@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("name", DIRECT)
def test_without_matrices(code, name: str, dim: int) -> None:
    rows = make_rows(dim)
    found, bits = code(name, rows)
    keys, values, wanted_bits = DIRECT[name]
    assert_same(found[0], keys(rows[0].astype(np.float64)), f"{name} keys")
    assert_same(found[1], values(rows[1].astype(np.float64)), f"{name} values")
    assert bits == wanted_bits


VLLM = {
    "fp8_token": (rn.fp8_per_token, 8),
    "int8_token": (rn.int8_per_token, 8),
    "nvfp4": (lambda x: rn.nvfp4(x, False), 4),
    "nvfp4_4over6": (lambda x: rn.nvfp4(x, True), 4),
}


@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("name", VLLM)
def test_formats_of_vllm(code, name: str, dim: int) -> None:
    rows = make_rows(dim)
    found, bits = code(name, rows)
    wanted, number_bits = VLLM[name]
    for side in (0, 1):
        assert_same(found[side], wanted(rows[side].astype(np.float64)), f"{name}, side {side}")
    assert bits == number_bits + (8 / 16 if number_bits == 4 else 32 / dim)


@pytest.mark.parametrize("dim", [64, 128])
def test_four_bits_of_vllm(code, matrix, dim: int) -> None:
    rows = make_rows(dim)
    found, bits = code("int4_token", rows)
    for side, seed in enumerate((KEY_SEED, VALUE_SEED)):
        signs = np.where(matrix("gaussian", 1, dim, seed)[0] < 0, -1.0, 1.0)
        assert_same(found[side], rn.int4_per_token(rows[side].astype(np.float64), signs), f"side {side}")
    assert bits == 4 + 32 / dim


@pytest.mark.parametrize("dim", [64, 128])
def test_kvarn(code, dim: int) -> None:
    """A decision within a rounding of a tie, of a scale's half float too, turns one number of a rotated row: all of its channels."""
    rows = make_rows(dim)
    found, bits = code("kvarn_k4v2", rows)
    for side, number_bits in enumerate((4, 2)):
        wanted = rn.kvarn(rows[side].astype(np.float64), number_bits, side == 0)
        assert_same(found[side], wanted, f"side {side}")
    key_bits, value_bits = 4 + 0.25 + 16 / dim, 2 + 0.125 + 32 / dim
    assert bits == (key_bits + value_bits) / 2


def test_a_second_scale_never_costs(code) -> None:
    rows = make_rows(64)
    errors = [((code(name, rows)[0] - rows) ** 2).sum() for name in ("nvfp4", "nvfp4_4over6")]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("dim", [64, 128])
def test_hadamard(code, dim: int) -> None:
    rows = make_rows(dim)
    found, bits = code("q4_0h", rows)
    assert_same(found[0], rn.q4_0_hadamard(rows[0].astype(np.float64), dim), "keys")
    assert_same(found[1], rn.q4_0_hadamard(rows[1].astype(np.float64), 64), "values")
    assert bits == 4.5


@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_turbo_quant(code, matrix, bits: int, dim: int) -> None:
    rows = make_rows(dim)
    keys, values = rows.astype(np.float64)
    turns = [matrix("rotation", dim, dim, seed) for seed in (KEY_SEED, VALUE_SEED)]
    found, stored = code(f"tq{bits}", rows)
    assert_same(found[0], rn.turbo_mse(keys, bits, turns[0]), "keys")
    assert_same(found[1], rn.turbo_mse(values, bits, turns[1]), "values")
    assert stored == bits + 16 / dim
    if bits == 2:
        return
    found, stored = code(f"tqprod{bits}", rows)
    sketch = matrix("gaussian", dim, dim, KEY_SEED + 1)
    assert_same(found[0], rn.turbo_prod(keys, bits, turns[0], sketch), "keys of prod")
    assert_same(found[1], rn.turbo_mse(values, bits, turns[1]), "values of prod")
    assert stored == pytest.approx(bits + 24 / dim, abs=1e-5)


@pytest.mark.parametrize("dim", [64, 128])
def test_polar_quant(code, matrix, dim: int) -> None:
    rows = make_rows(dim)
    found, bits = code("polar4", rows)
    for side, seed in enumerate((KEY_SEED, VALUE_SEED)):
        assert_same(found[side], rn.polar(rows[side].astype(np.float64), matrix("rotation", dim, dim, seed)), f"side {side}")
    assert bits == 3.875


@pytest.mark.parametrize("bits", [3, 4])
def test_kvquant(code, bits: int) -> None:
    """The levels are the method's own k-means over a histogram of 4096 cells: judged by what it must give, not number by number."""
    dim, tokens = 64, 1024
    rows = make_rows(dim, tokens=tokens)
    # RoPE of the program's probe: pairs (i, i + dim / 2), base 10000. The rows are made before it, as a model's are.
    before = rows[0].astype(np.float64)
    rows[0] = rn.rope(before, 10000.0, 1)
    found, stored = code(f"kvquant{bits}", rows)
    keys = rn.rope(found[0].astype(np.float64), 10000.0, -1)
    tail = int(0.005 * tokens)
    for head in range(HEADS):
        numbers = np.sort(before[head], axis=0)
        low, high = numbers[tail], numbers[tokens - 1 - tail]
        inside = (before[head] >= low + 1e-5) & (before[head] <= high - 1e-5)
        outside = (before[head] < low - 1e-5) | (before[head] > high + 1e-5)
        assert_scaled_codes(before[head], keys[head], low, high, inside[:, :], bits)
        # kept in fp16, turned there and back in fp32
        assert np.abs(keys[head] - before[head])[outside].max() <= np.abs(before).max() * (2.0**-11 + 2.0**-19)
    assert np.abs(keys[:, 0] - before[:, 0]).max() <= 1e-5 * np.abs(before).max(), "the first token stays"
    values, exact = found[1].transpose(1, 0, 2).reshape(tokens, -1), rows[1].transpose(1, 0, 2).reshape(tokens, -1)
    order = np.sort(exact, axis=1)
    low, high = order[:, 1:2], order[:, -2:-1]  # half a per cent of 128 numbers: one on each side
    outside = (exact < low) | (exact > high)
    assert np.all(np.where(outside, values == rn.half(exact), True)[1:]), "outliers in fp16"
    assert outside.sum() >= 2 * (tokens - 1)
    assert_scaled_codes(exact[1:], values[1:], low[1:], high[1:], ~outside[1:], bits)
    share = 2 * tail / tokens
    assert stored == pytest.approx(bits + (share * 32 + 32 / 128 + (2 * 32 + 64) / 128) / 2, abs=2e-3)


def assert_scaled_codes(
    exact: np.ndarray, found: np.ndarray, low: np.ndarray, high: np.ndarray, inside: np.ndarray, bits: int
) -> None:
    """At most 2^b different scaled numbers, each near number the nearest of them, and an error near that of the best levels."""
    scale = lambda x: (2 * (x - low) / (high - low) - 1)[inside]  # noqa: E731
    x, y = scale(exact), scale(found)
    levels = np.unique(np.round(y, 1))  # rough: fp16 ranges move a level by less than its distance to the next
    assert len(levels) <= 3 * 2**bits
    density, edges = np.histogram(x, 400, (-1, 1))
    centres = rn.optimal_levels(density.astype(np.float64), (edges[1:] + edges[:-1]) / 2, 2**bits)
    best = np.mean((x - rn.nearest(x, centres)) ** 2)
    # Levels shared by channels and heads of one layer, a histogram of 4096 cells: within 10 % of the best for these very numbers.
    assert best * 0.9 <= np.mean((x - y) ** 2) <= best * 1.1


def test_qjl_gaussian(code, matrix) -> None:
    for dim in (64, 128):
        rows = make_rows(dim)
        found, bits = code("qjl3", rows)
        assert_same(found[0], rn.qjl(rows[0].astype(np.float64), matrix("gaussian", 3 * dim, dim, KEY_SEED)), "keys")
        assert_same(found[1], rn.int_per_token(rows[1].astype(np.float64), 2), "values")
        assert bits == pytest.approx((3 + 16 / dim + 3) / 2, abs=1e-5)


def test_qjl_outliers_of_the_prompt(code, matrix) -> None:
    dim = 64
    rows = make_rows(dim)
    found, bits = code("qjl3:sketch=orthogonal,rows=128,outliers=4,outlier_rows=64", rows)
    keys = rows[0].astype(np.float64)
    mask = rn.largest_channels(keys, 4, TOKENS)
    inner, outer = matrix("orthogonal", 128, dim, KEY_SEED), matrix("orthogonal", 64, dim, KEY_SEED + 2)
    assert_same(found[0], rn.qjl_split(keys, mask, inner, outer, "stored"), "keys")
    assert bits == pytest.approx(((128 + 64 + 32) / dim + 3) / 2, abs=1e-5)


def test_qjl_released_settings(code, matrix) -> None:
    """head_dim 128, 32 layers: 5.266 and 4.266 bits a key number, 3 a value number, 3.867 together, which is not 3."""
    dim = 128
    rows = make_rows(dim)
    keys = rows[0].astype(np.float64)
    mask = rn.largest_channels(keys, 8, 32)
    for layer, rows_in, rows_out, seed in ((0, 512, 128, KEY_SEED + 1), (20, 256, 256, KEY_SEED)):
        found, bits = code("qjl_repo", rows, layers=32, layer=layer)
        sketch = matrix("orthogonal", rows_in, dim, seed)
        assert_same(found[0], rn.qjl_split(keys, mask, sketch, sketch[:rows_out], "difference"), f"layer {layer}")
        assert_same(found[1], rn.int_per_token(rows[1].astype(np.float64), 2), "values")
        assert bits == pytest.approx(((15 * 674 + 17 * 546) / 32 / dim + 3) / 2, abs=1e-4)
        assert round(bits, 2) == 3.87


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal"])
def test_qjl_theory(code, kind: str) -> None:
    """Mean and variance of <q, k^> over 300 sketches; four standard errors, which for a variance is 4 sqrt(2 / n) of itself.

    Gaussian rows: unbiased, (pi/2 |q|^2 |k|^2 - <q, k>^2) / m. Orthogonal rows at m = d, q across k: (pi/2 - 1) / (d - 1), .571 / d in
    short. The 512 pairs of a run share a sketch, so that standard errors come from the sketches alone."""
    dim, sketches = 64, 300
    m = 3 * dim if kind == "gaussian" else dim
    random = np.random.default_rng(5)
    keys = random.normal(size=(2, 1, 128, dim)).astype(np.float32)
    q = random.normal(size=(128, dim))
    k = keys[0, 0].astype(np.float64)
    if kind == "orthogonal":
        q -= k * ((q * k).sum(-1) / (k * k).sum(-1))[:, None]
    exact, sizes = (q * k).sum(-1), (q * q).sum(-1) * (k * k).sum(-1)
    theory = (np.pi / 2 * sizes - exact**2) / m if kind == "gaussian" else (np.pi / 2 - 1) / (dim - 1) * sizes
    ratios, bias = [], []
    for seed in range(sketches):
        found, _ = code(f"qjl3:sketch={kind},rows={m},seed={seed + 10}", keys)
        error = (q * found[0, 0]).sum(-1) - exact
        ratios.append(np.mean(error**2 / theory))
        bias.append(np.mean(error / np.sqrt(theory)))
    standard_error = lambda x: np.std(x, ddof=1) / np.sqrt(len(x))  # noqa: E731
    assert abs(np.mean(bias)) <= 4 * standard_error(bias), np.mean(bias)
    assert abs(np.mean(ratios) - 1) <= 4 * standard_error(ratios), (np.mean(ratios), standard_error(ratios))


def test_matrices(matrix) -> None:
    """A rotation is orthonormal; sketch rows have norm sqrt(d); Gaussian entries have mean 0 and variance 1 (four standard errors)."""
    dim = 64
    turn = matrix("rotation", dim, dim, 7)
    assert np.abs(turn @ turn.T - np.eye(dim)).max() <= dim * 2.0**-23
    rows = matrix("orthogonal", 3 * dim, dim, 7)
    assert np.abs(rows[:dim] @ rows[:dim].T / dim - np.eye(dim)).max() <= dim * 2.0**-23
    assert np.abs(np.linalg.norm(rows, axis=1) ** 2 - dim).max() <= dim**2 * 2.0**-23
    gauss = matrix("gaussian", 512, dim, 7)
    assert abs(gauss.mean()) <= 4 / np.sqrt(gauss.size)
    assert abs(gauss.var() - 1) <= 4 * np.sqrt(2 / gauss.size)
