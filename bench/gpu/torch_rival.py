#!/usr/bin/env python3
"""torch's attention (FlashAttention where torch has it) over exact bf16 keys and values, the shapes of qjl_gpu_bench: one JSON line a case.
Ends quietly with a line that says so where torch or its device is missing."""

from __future__ import annotations

import json
from itertools import product

HEADS, DIM, ROUNDS, MOST_TOKENS = 8, 128, 20, 8 << 20


def median_us(torch, run, flush) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        flush.fill_(1)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(1e3 * start.elapsed_time(stop))
    return sorted(times[1:])[ROUNDS // 2]


def main() -> None:
    try:
        import torch
        from torch.nn.functional import scaled_dot_product_attention
    except ImportError:
        print(json.dumps({"case": "torch", "absence": "no torch"}))
        return
    if not torch.cuda.is_available():
        print(json.dumps({"case": "torch", "absence": "torch sees no CUDA device"}))
        return
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    for tokens, batch in product((4096, 32768, 131072, 1048576), (1, 8, 64)):
        numbers = batch * HEADS * tokens * DIM
        if tokens * batch > MOST_TOKENS or 5 * numbers > torch.cuda.mem_get_info()[0]:
            continue
        keys, values = (torch.randn(batch, HEADS, tokens, DIM, dtype=torch.bfloat16, device="cuda") for _ in range(2))
        for group in (1, 4, 8):
            queries = torch.randn(batch, HEADS * group, 1, DIM, dtype=torch.bfloat16, device="cuda")

            def run(queries=queries, keys=keys, values=values):
                return scaled_dot_product_attention(queries, keys, values, enable_gqa=True)

            row = {"case": "attend", "cache": "torch bf16", "tokens": tokens, "batch": batch, "group": group}
            print(json.dumps({**row, "us": median_us(torch, run, flush)}), flush=True)
        del keys, values


if __name__ == "__main__":
    main()
