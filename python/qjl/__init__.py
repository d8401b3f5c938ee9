"""qjl: a key-value cache of 1 to 4 bits a number, attended to in that form.

    import numpy as np, qjl

    cache = qjl.KvCache(num_layers=1, num_kv_heads=2, head_dim=64)
    sequence = cache.create()
    cache.append(sequence, 0, keys, values)                   # [2, tokens, 64] each
    out = cache.attend(0, queries, [sequence])                # queries [1, heads, tokens, 64] -> [1, tokens, heads, 64]

Arrays are NumPy's, or torch tensors of the host: float32, float16 or bfloat16, never copied on their way in. torch itself is not
needed and not imported.
"""

from __future__ import annotations

from qjl._core import CacheFile, PageCodec, __version__, merge, simd_target
from qjl.cache import KvCache
from qjl.errors import BadFile, FileError, InvalidArgument, OutOfPages, QjlError, Unsupported

__all__ = [
    "BadFile",
    "CacheFile",
    "FileError",
    "InvalidArgument",
    "KvCache",
    "OutOfPages",
    "PageCodec",
    "QjlError",
    "Unsupported",
    "__version__",
    "merge",
    "simd_target",
]
