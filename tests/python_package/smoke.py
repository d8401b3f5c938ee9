"""A wheel, installed where there is NumPy and nothing else: what it holds, and one history from end to end.

smoke.py WHEEL
"""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile

import numpy as np
import qjl


def check(holds: bool, found: object) -> None:
    if not holds:
        sys.exit(f"smoke test: found {found}")


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        files = {name: wheel.getinfo(name).file_size for name in wheel.namelist()}
    foreign = [name for name in files if not name.startswith(("qjl/", "qjl-"))]
    native = [name for name in files if name.endswith((".so", ".a"))]
    check(not foreign and len(native) == 1, (foreign, native))
    check({"qjl/py.typed", "qjl/_core.pyi"} <= files.keys(), sorted(files))
    installed = {dist.name.lower() for dist in importlib.metadata.distributions()} - {"pip", "setuptools", "wheel"}
    check(installed == {"numpy", "qjl"}, installed)

    random = np.random.default_rng(0)
    keys, values = random.standard_normal((2, 2, 500, 64), dtype=np.float32)
    queries = random.standard_normal((1, 4, 1, 64), dtype=np.float32)
    outs = {}
    for cache_type in ("f16", "k4v4", "k2v2"):
        cache = qjl.KvCache(1, 2, 64, cache_type)
        sequence = cache.create()
        cache.append(sequence, 0, keys, values)
        outs[cache_type] = cache.attend(0, queries, [sequence])
        cache.truncate(sequence, 300)
        check(cache.num_tokens(cache.fork(sequence)) == 300, cache.num_tokens(sequence))
    errors = [float(np.abs(outs[name] - outs["f16"]).max()) for name in ("k4v4", "k2v2")]
    check(0 < errors[0] < errors[1] < 0.5, errors)
    print(
        f"the wheel works: {sum(files.values()) >> 10} KiB, {qjl.simd_target()}, k4v4 off by {errors[0]:.3f}, k2v2 by {errors[1]:.3f}"
    )


if __name__ == "__main__":
    main()
