"""A compressed cache on NumPy arrays: append a prompt, attend step by step, fork, compare with the exact cache, count bytes.

python examples/python/numpy_cache.py
"""

from __future__ import annotations

import numpy as np
import qjl

LAYERS, KV_HEADS, QUERY_HEADS, HEAD_DIM, PROMPT, STEPS = 2, 2, 8, 128, 1500, 20


def main() -> None:
    random = np.random.default_rng(0)
    keys, values = random.standard_normal((2, LAYERS, KV_HEADS, PROMPT + STEPS, HEAD_DIM), dtype=np.float32)
    # Each query looks for one earlier token. What comes out is then one value of noise, of which 2 bits lose a third, as any 2-bit
    # code of normal numbers does; a model's values are less random, and its heads look at many.
    sought = random.integers(0, PROMPT, PROMPT + STEPS)
    queries = np.repeat(keys[:, :, sought], QUERY_HEADS // KV_HEADS, axis=1)

    results = {}
    for cache_type in ("f16", "k4v4", "k3v2"):
        cache = qjl.KvCache(LAYERS, KV_HEADS, HEAD_DIM, cache_type)
        sequence = cache.create()
        for layer in range(LAYERS):
            cache.append(sequence, layer, keys[layer, :, :PROMPT], values[layer, :, :PROMPT])
        prompt_only = cache.fork(sequence)  # shares every sealed page with the sequence that goes on
        outs = []
        for step in range(PROMPT, PROMPT + STEPS):
            for layer in range(LAYERS):
                q, k, v = (x[layer][None, :, step : step + 1] for x in (queries, keys, values))  # [batch, heads, 1, head_dim]
                outs.append(cache.step(layer, q, [sequence], k, v))
        results[cache_type] = np.stack(outs)
        assert (cache.num_tokens(prompt_only), cache.num_tokens(sequence)) == (PROMPT, PROMPT + STEPS)
        error = np.linalg.norm(results[cache_type] - results["f16"]) / np.linalg.norm(results["f16"])
        report = cache.memory_report()
        print(
            f"{cache_type}: {report['total'] / 1024:.0f} KiB for {report['num_tokens']} tokens of two sequences, "
            f"{cache.bits_sealed():.2f} bits a number in sealed pages, outputs off by {error:.1%}"
        )


if __name__ == "__main__":
    main()
