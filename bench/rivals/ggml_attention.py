"""llama.cpp's flash attention kernel by itself: ggml_flash_attn_ext on the shared libraries that llama-cpp-python installs.

One query token, fp32; no mask (a decode step masks nothing). Keys and values lie head by head, [head_dim, tokens, kv_heads], which
is where the kernel is fastest, or token by token as in llama.cpp's own cache, a row of all kv heads for each token. Quantised caches
hold random codes: the kernel's time does not depend on them.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import llama_cpp
import numpy as np

# ggml_type: its number in ggml.h, bytes and numbers of a block.
TYPES = {"f16": (1, 2, 1), "q8_0": (8, 34, 32), "q4_0": (2, 18, 32)}
F32 = 0


class InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def load_ggml() -> ctypes.CDLL:
    folder = Path(llama_cpp.__file__).parent / "lib"
    for name in ("libggml-base.so", "libggml-cpu.so"):
        library = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    pointer, integer, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    signatures = {
        "ggml_init": (pointer, [InitParams]),
        "ggml_free": (None, [pointer]),
        "ggml_new_tensor_4d": (pointer, [pointer, ctypes.c_int, integer, integer, integer, integer]),
        "ggml_permute": (pointer, [pointer, pointer, *[ctypes.c_int] * 4]),
        "ggml_get_data": (pointer, [pointer]),
        "ggml_nbytes": (ctypes.c_size_t, [pointer]),
        "ggml_flash_attn_ext": (pointer, [pointer, pointer, pointer, pointer, pointer, number, number, number]),
        "ggml_new_graph": (pointer, [pointer]),
        "ggml_build_forward_expand": (None, [pointer, pointer]),
        "ggml_graph_compute_with_ctx": (ctypes.c_int, [pointer, pointer, ctypes.c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.ggml_cpu_init()
    return library


class Layout(Enum):
    HEADS = "by head"
    TOKENS = "by token"


@dataclass(frozen=True)
class Shape:
    head_dim: int
    kv_heads: int
    group: int
    tokens: int


class GgmlAttention:
    """One decode step of kv_heads * group query heads over `tokens` cached tokens."""

    def __init__(self, ggml: ctypes.CDLL, kind: str, layout: Layout, shape: Shape, threads: int) -> None:
        head_dim, kv_heads, group, tokens = shape.head_dim, shape.kv_heads, shape.group, shape.tokens
        self.ggml, self.threads, self.shape = ggml, threads, shape
        number, block_bytes, block_numbers = TYPES[kind]
        self.bytes = 2 * tokens * kv_heads * head_dim * block_bytes // block_numbers
        # Huge pages, as our own buffers have; llama.cpp itself does not ask for them.
        self.memory = mmap.mmap(-1, self.bytes + (64 << 20))
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.arena = ggml.ggml_init(InitParams(len(self.memory), address, False))
        self.query = self._tensor(F32, head_dim, 1, kv_heads * group)
        if layout is Layout.HEADS:
            rows = [self._tensor(number, head_dim, tokens, kv_heads) for _ in range(2)]
            self.keys, self.values = rows
        else:
            rows = [self._tensor(number, head_dim, kv_heads, tokens) for _ in range(2)]
            self.keys, self.values = (ggml.ggml_permute(self.arena, row, 0, 2, 1, 3) for row in rows)
        generator = np.random.default_rng(1)
        self.numbers = [self._fill(row, kind, generator) for row in rows]
        self._array(self.query, np.float32)[:] = generator.standard_normal(head_dim * kv_heads * group, np.float32)
        self.work = None
        self.calls_left = 0

    def _tensor(self, kind: int, *dims: int) -> int:
        return self.ggml.ggml_new_tensor_4d(self.arena, kind, *dims, 1)

    def _array(self, tensor: int, dtype: type) -> np.ndarray:
        size = self.ggml.ggml_nbytes(tensor)
        raw = (ctypes.c_uint8 * size).from_address(self.ggml.ggml_get_data(tensor))
        return np.frombuffer(raw, np.uint8).view(dtype)

    def _fill(self, tensor: int, kind: str, generator: np.random.Generator) -> np.ndarray:
        """Normal numbers (f16), or random codes with one scale in every block; repeated over the tensor."""
        stretch = 1 << 20
        if kind == "f16":
            array = self._array(tensor, np.float16)
            pattern = generator.standard_normal(stretch, np.float32).astype(np.float16)
        else:
            _, block_bytes, _ = TYPES[kind]
            blocks = generator.integers(0, 256, (stretch // block_bytes, block_bytes), np.uint8)
            blocks[:, :2] = np.frombuffer(np.float16(0.02).tobytes(), np.uint8)
            array, pattern = self._array(tensor, np.uint8), blocks.reshape(-1)
        for at in range(0, array.size, pattern.size):
            array[at : at + pattern.size] = pattern[: array.size - at]
        return array

    def _graph(self) -> None:
        """A small context of its own: each computation takes its scratch memory from there."""
        if self.work is not None:
            self.ggml.ggml_free(self.work)
        self.work = self.ggml.ggml_init(InitParams(256 << 20, None, False))
        scale = self.shape.head_dim**-0.5
        self.out = self.ggml.ggml_flash_attn_ext(self.work, self.query, self.keys, self.values, None, scale, 0.0, 0.0)
        self.graph = self.ggml.ggml_new_graph(self.work)
        self.ggml.ggml_build_forward_expand(self.graph, self.out)
        self.calls_left = 50

    def run(self) -> float:
        """Seconds of one step."""
        if self.calls_left == 0:
            self._graph()
        self.calls_left -= 1
        start = time.perf_counter()
        status = self.ggml.ggml_graph_compute_with_ctx(self.work, self.graph, self.threads)
        seconds = time.perf_counter() - start
        if status != 0:
            raise RuntimeError(f"ggml reports status {status}")
        return seconds

    def output(self) -> np.ndarray:
        return self._array(self.out, np.float32).reshape(-1, self.shape.head_dim).copy()


def check_f16(ggml: ctypes.CDLL) -> float:
    """Relative error of the f16 kernel against doubles on a small case, both layouts: that the call means what we think."""
    shape = Shape(head_dim=64, kv_heads=2, group=3, tokens=256)
    errors = []
    for layout in Layout:
        attention = GgmlAttention(ggml, "f16", layout, shape, threads=1)
        attention.run()
        out = attention.output()
        if layout is Layout.HEADS:
            rows = [a.reshape(shape.kv_heads, shape.tokens, shape.head_dim) for a in attention.numbers]
        else:
            rows = [a.reshape(shape.tokens, shape.kv_heads, shape.head_dim).swapaxes(0, 1) for a in attention.numbers]
        keys, values = (a.astype(np.float64) for a in rows)
        queries = attention._array(attention.query, np.float32).reshape(-1, shape.head_dim).astype(np.float64)
        wanted = np.empty_like(queries)
        for head, query in enumerate(queries):
            scores = keys[head // shape.group] @ query * shape.head_dim**-0.5
            weights = np.exp(scores - scores.max())
            wanted[head] = weights @ values[head // shape.group] / weights.sum()
        errors.append(float(np.linalg.norm(out - wanted) / np.linalg.norm(wanted)))
    return max(errors)
