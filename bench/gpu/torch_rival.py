#!/usr/bin/env python3
"""torch's attention over exact bf16 keys and values, the shapes of qjl_gpu_bench: one JSON line a case.

Each case is run by every kernel that torch has for it (FlashAttention, cuDNN's, the memory-efficient one) and by the package
flash_attn where it is installed; a row has the fastest. Two causal prefills of 4 query heads a kv head stand beside the encoders.
Ends quietly with a line that says so where torch or its device is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

HEADS, DIM, ROUNDS, MOST_TOKENS = 8, 128, 20, 8 << 20
SLOW_US = 50e3  # what takes longer is run three times


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


def median_us(torch, run: Callable[[], object], flush) -> float:
    times = []
    while len(times) <= (ROUNDS if not times or times[0] < SLOW_US else 3):  # the first is a warm-up
        flush.fill_(1)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(1e3 * start.elapsed_time(stop))
    rest = sorted(times[1:])
    return rest[len(rest) // 2]


def kernels(torch) -> dict[str, Callable]:
    """By name: attend(queries, keys, values, causal) over [batch, heads, tokens, dim]."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def of_torch(name: str) -> Callable:
        def attend(queries, keys, values, causal):
            with sdpa_kernel(getattr(SDPBackend, name)):
                return scaled_dot_product_attention(queries, keys, values, is_causal=causal, enable_gqa=True)

        return attend

    names = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION")
    found = {name.split("_")[0].lower(): of_torch(name) for name in names if hasattr(SDPBackend, name)}
    try:
        from flash_attn import flash_attn_func
    except ImportError:
        return found

    def attend(queries, keys, values, causal):
        return flash_attn_func(*(x.transpose(1, 2) for x in (queries, keys, values)), causal=causal)

    return {**found, "flash_attn": attend}


def fastest(torch, attends: dict[str, Callable], tensors: tuple, causal: bool, flush) -> dict[str, object]:
    """{"us", "kernel"} of the best, or {"why"} of all that failed."""
    times, reasons = {}, {}
    for name, attend in attends.items():
        try:
            times[name] = median_us(torch, lambda attend=attend: attend(*tensors, causal), flush)
        except RuntimeError as error:  # no such kernel for this shape, or no memory
            reasons[name] = str(error).splitlines()[0][:120]
    if not times:
        return {"why": reasons}
    name = min(times, key=times.get)
    return {"us": times[name], "kernel": name}


def main() -> None:
    try:
        import torch
    except ImportError:
        return say(case="torch", absence="no torch")
    if not torch.cuda.is_available():
        return say(case="torch", absence="torch sees no CUDA device")
    say(case="torch", version=torch.__version__)

    def normal(*shape: int):
        return torch.randn(*shape, dtype=torch.bfloat16, device="cuda")

    attends, flush = kernels(torch), torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    for tokens in (4096, 32768):
        tensors = tuple(normal(1, heads, tokens, DIM) for heads in (4 * HEADS, HEADS, HEADS))
        say(case="prefill", tokens=tokens, group=4, **fastest(torch, attends, tensors, True, flush))
    for tokens, batch in product((4096, 131072, 32768, 1048576), (1, 8, 64)):
        numbers = batch * HEADS * tokens * DIM
        if tokens * batch > MOST_TOKENS or 5 * numbers > torch.cuda.mem_get_info()[0]:
            continue
        keys, values = (normal(batch, HEADS, tokens, DIM) for _ in range(2))
        for group in (1, 4, 8):
            found = fastest(torch, attends, (normal(batch, HEADS * group, 1, DIM), keys, values), False, flush)
            say(case="attend", cache="torch bf16", tokens=tokens, batch=batch, group=group, **found)
        del keys, values


if __name__ == "__main__":
    main()
