"""The rivals once more, in NumPy and doubles, read from their papers and not from engine/rivals.

Each function takes rows [heads, tokens, dim] and gives what a cache of that method would decode. Random matrices are arguments: a rotation
or a sketch is data, the formula around it is what is judged.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def half(x: Array) -> Array:
    return np.asarray(x, np.float32).astype(np.float16).astype(np.float64)


def e4m3(x: Array) -> Array:
    """Nearest of all 253 finite numbers of the format, ties to the even code."""
    codes = np.arange(127)  # 0x7f is NaN
    exponent, mantissa = codes >> 3, codes & 7
    table = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    size = np.minimum(np.abs(x), 448.0)
    low = np.clip(np.searchsorted(table, size, side="right") - 1, 0, 125)
    down, up = size - table[low], table[low + 1] - size
    pick = np.where((up < down) | ((up == down) & (low % 2 == 1)), low + 1, low)
    return np.sign(x) * table[pick]


def e2m1(x: Array) -> Array:
    """Nearest of 0, 1/2, 1, 3/2, 2, 3, 4, 6 and their negatives, ties to the even code."""
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    size = np.minimum(np.abs(x), 6.0)
    low = np.clip(np.searchsorted(table, size, side="right") - 1, 0, 6)
    down, up = size - table[low], table[low + 1] - size
    return np.sign(x) * table[np.where((up < down) | ((up == down) & (low % 2 == 1)), low + 1, low)]


def fp8_per_token(x: Array) -> Array:
    scale = np.maximum(np.abs(x).max(-1, keepdims=True) / 448, 1e-6)
    return scale * e4m3(x / scale)


def int8_per_token(x: Array) -> Array:
    scale = np.maximum(np.abs(x).max(-1, keepdims=True) / 127, 1e-6)
    return scale * np.rint(x / scale)


def int4_per_token(x: Array, signs: Array) -> Array:
    """x D H coded by its range, and back."""
    turned = (x * signs) @ hadamard(x.shape[-1])
    low, high = turned.min(-1, keepdims=True), turned.max(-1, keepdims=True)
    scale = (high - low) / 15
    zero = np.clip(np.rint(-low / scale), 0, 15)
    codes = np.clip(np.rint(turned / scale) + zero, 0, 15)
    return ((codes - zero) * scale) @ hadamard(x.shape[-1]) * signs


def nvfp4(x: Array, tries_four: bool) -> Array:
    """The largest number of all is the tensor's."""
    blocks = x.reshape(*x.shape[:-1], -1, 16)
    tensor = np.abs(x).max() / (6 * 448)
    largest = np.abs(blocks).max(-1, keepdims=True)

    def decoded(most: float) -> Array:
        scale = e4m3(largest / most / tensor) * tensor
        return scale * e2m1(blocks / scale)

    best = decoded(6)
    if tries_four:
        other = decoded(4)
        errors = [((blocks - each) ** 2).sum(-1, keepdims=True) for each in (best, other)]
        best = np.where(errors[1] < errors[0], other, best)
    return best.reshape(x.shape)


def balanced(tile: Array) -> tuple[Array, Array]:
    """KVarN's scales of rows and of columns [.., rows, 1], [.., 1, columns] of one tile."""
    rows, columns = np.zeros((tile.shape[0], 1)), np.zeros((1, tile.shape[1]))
    best, least = (rows, columns), np.inf
    for _ in range(17):
        now = tile * np.exp(-rows - columns)
        of_rows, of_columns = now.std(1, ddof=1, keepdims=True), now.std(0, ddof=1, keepdims=True)
        imbalance = sum(std.max() / max(std.min(), 1e-8) for std in (of_rows, of_columns))
        if imbalance <= least:
            best, least = (rows, columns), imbalance
        columns = np.clip(columns + np.log(np.clip(of_columns, 1e-3, 1e3)), -0.3, 10)
        of_rows = (tile * np.exp(-rows - columns)).std(1, ddof=1, keepdims=True)
        rows = np.clip(rows + np.log(np.clip(of_rows, 1e-3, 1e3)), -0.3, 10)
    return np.exp(best[0]), np.exp(best[1])


def kvarn(x: Array, bits: int, is_key: bool) -> Array:
    """Tiles of 128 tokens; a row is a channel of keys, a token of values."""
    turn = hadamard(x.shape[-1])
    out = np.empty_like(x)
    for head in range(x.shape[0]):
        for first in range(0, x.shape[1], 128):
            tile = x[head, first : first + 128] @ turn
            tile = tile.T if is_key else tile
            rows, columns = balanced(tile)
            even = tile / columns / rows
            low, step = even.min(1, keepdims=True), np.ptp(even, axis=1, keepdims=True) / (2**bits - 1)
            codes = np.clip(np.rint((even - low) / step), 0, 2**bits - 1)
            tile = (codes * half(rows * step) + half(rows * low)) * half(columns)
            out[head, first : first + 128] = (tile.T if is_key else tile) @ turn
    return out


def q8_0(x: Array) -> Array:
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    step = np.abs(blocks).max(-1, keepdims=True) / 127
    codes = np.divide(blocks, step, out=np.zeros_like(blocks), where=step > 0)
    return (np.sign(codes) * np.floor(np.abs(codes) + 0.5) * half(step)).reshape(x.shape)


def q4_0(x: Array) -> Array:
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    step = extreme / -8
    codes = np.minimum(15, np.floor(np.divide(blocks, step, out=np.zeros_like(blocks), where=step != 0) + 8.5)) - 8
    return (codes * half(step)).reshape(x.shape)


def hadamard(n: int) -> Array:
    """Entry (i, j) is -1 to the number of bits that i and j share, over sqrt(n)."""
    shared = np.array([[bin(i & j).count("1") for j in range(n)] for i in range(n)])
    return (-1.0) ** shared / np.sqrt(n)


def q4_0_hadamard(x: Array, size: int) -> Array:
    parts = x.reshape(*x.shape[:-1], -1, size) @ hadamard(size)
    return (q4_0(parts.reshape(x.shape)).reshape(parts.shape) @ hadamard(size)).reshape(x.shape)


def min_max(x: Array, bits: int, axis: int) -> Array:
    """Groups along one axis; lowest and step in fp16."""
    low = half(x.min(axis, keepdims=True))
    step = half((x.max(axis, keepdims=True) - x.min(axis, keepdims=True)) / (2**bits - 1))
    return low + step * np.clip(np.rint((x - low) / step), 0, 2**bits - 1)


def int_per_token(x: Array, bits: int) -> Array:
    return min_max(x.reshape(*x.shape[:-1], -1, 32), bits, -1).reshape(x.shape)


def int_per_channel(x: Array, bits: int) -> Array:
    heads, tokens, dim = x.shape
    return min_max(x.reshape(heads, tokens // 32, 32, dim), bits, 2).reshape(x.shape)


def optimal_levels(density: Array, grid: Array, count: int) -> Array:
    """Fixed point of Lloyd's two conditions for a density on a grid (trapezoids), from equal probabilities."""
    step = np.diff(grid)
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * step)])
    moment = np.concatenate([[0], np.cumsum(((density * grid)[1:] + (density * grid)[:-1]) / 2 * step)])
    levels = np.interp((np.arange(count) + 0.5) / count * mass[-1], mass, grid)
    for _ in range(5000):
        edges = np.concatenate([[grid[0]], (levels[1:] + levels[:-1]) / 2, [grid[-1]]])
        moved = np.diff(np.interp(edges, grid, moment)) / np.diff(np.interp(edges, grid, mass)) - levels
        levels = levels + moved
        if np.abs(moved).max() < 1e-11:
            break
    return levels


def nearest(x: Array, levels: Array) -> Array:
    return levels[np.abs(x[..., None] - levels).argmin(-1)]


def turbo_mse(x: Array, bits: int, rotation: Array) -> Array:
    dim = x.shape[-1]
    grid = np.linspace(-1, 1, 100001)
    levels = optimal_levels((1 - grid**2) ** ((dim - 3) / 2), grid, 2**bits)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return half(norm) * (nearest(x / norm @ rotation.T, levels) @ rotation)


def sketch_estimate(x: Array, sketch: Array, norm: Array) -> Array:
    """sqrt(pi/2)/m |x| S^T sign(S x)"""
    signs = np.where(x @ sketch.T > 0, 1.0, -1.0)
    return np.sqrt(np.pi / 2) / len(sketch) * norm * (signs @ sketch)


def turbo_prod(x: Array, bits: int, rotation: Array, sketch: Array) -> Array:
    first = turbo_mse(x, bits - 1, rotation)
    rest = x - first
    return first + sketch_estimate(rest, sketch, half(np.linalg.norm(rest, axis=-1, keepdims=True)))


def polar(x: Array, rotation: Array) -> Array:
    turned = (x @ rotation.T).reshape(*x.shape[:-1], -1, 16)
    radii, stored = turned, []
    for level in range(1, 5):
        even, odd = radii[..., 0::2], radii[..., 1::2]
        angle = np.arctan2(odd, even)
        if level == 1:
            step = np.pi / 8
            stored.append((np.floor(np.mod(angle, 2 * np.pi) / step) + 0.5) * step)
        else:
            grid = np.linspace(0, np.pi / 2, 100001)
            stored.append(nearest(angle, optimal_levels(np.sin(2 * grid) ** (2 ** (level - 1) - 1), grid, 4)))
        radii = np.hypot(even, odd)
    back = half(radii)
    for angle in reversed(stored):
        back = np.stack([back * np.cos(angle), back * np.sin(angle)], -1).reshape(*back.shape[:-1], -1)
    return (back.reshape(x.shape)) @ rotation


def rope(x: Array, base: float, direction: int) -> Array:
    """Pairs (i, i + dim / 2) of row t turn by direction * t * base^(-2 i / dim)."""
    half_dim = x.shape[-1] // 2
    angle = direction * np.arange(x.shape[1])[:, None] * base ** (-np.arange(half_dim) / half_dim)
    a, b = x[..., :half_dim], x[..., half_dim:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1)


def qjl(x: Array, sketch: Array) -> Array:
    return sketch_estimate(x, sketch, half(np.linalg.norm(x, axis=-1, keepdims=True)))


def qjl_split(x: Array, outlier: Array, sketch: Array, outlier_sketch: Array, norms: str) -> Array:
    """outlier [heads, tokens, dim] is boolean; norms: "stored" (its own) or "difference" (of two fp16 norms)."""
    inside, outside = np.where(outlier, 0, x), np.where(outlier, x, 0)
    whole, out = (half(np.linalg.norm(part, axis=-1, keepdims=True)) for part in (x, outside))
    own = half(np.linalg.norm(inside, axis=-1, keepdims=True))
    inner = own if norms == "stored" else np.sqrt(np.maximum(whole**2 - out**2, 0))
    return np.where(outlier, sketch_estimate(outside, outlier_sketch, out), sketch_estimate(inside, sketch, inner))


def largest_channels(x: Array, count: int, group: int) -> Array:
    """Mask of the channels of largest norm over every `group` tokens."""
    heads, tokens, dim = x.shape
    norms = np.linalg.norm(x.reshape(heads, tokens // group, group, dim), axis=2)
    mask = np.zeros(norms.shape, bool)
    np.put_along_axis(mask, np.argsort(-norms, axis=-1)[..., :count], True, -1)
    return np.repeat(mask, group, axis=1)
