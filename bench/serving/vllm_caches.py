"""vLLM on processors with its own cache, its fp8 cache and ours, one engine after the other: tokens that a budget holds, and for 1, 8
and 32 sequences of 2048 + 128 tokens the throughput and the latency of a request.

    python bench/serving/vllm_caches.py --model FOLDER [--eager] [--short]

Prints one JSON line a case and a table at the end. Requests of a case are sent at once; latency is from then to a request's last
token, so that it counts waiting for room. Runs in vLLM's environment (./dev vllm-setup).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CACHES: dict[str, dict[str, Any]] = {
    "auto": {},
    "fp8": {"kv_cache_dtype": "fp8"},
    "k3v2": {"additional_config": {"qjl": {"cache": "k3v2"}}},
    "k2v2": {"additional_config": {"qjl": {"cache": "k2v2"}}},
}
PROMPT, NEW = 2048, 128


def run_cache(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    from vllm import LLM

    llm = LLM(
        model=chosen.model, dtype="bfloat16", enforce_eager=chosen.eager, max_model_len=PROMPT + NEW, max_num_seqs=32, seed=0,
        kv_cache_memory_bytes=chosen.megabytes << 20, enable_prefix_caching=False, **CACHES[chosen.cache],
    )  # fmt: skip
    capacity = llm.llm_engine.vllm_config.cache_config.kv_cache_size_tokens
    return [{"cache": chosen.cache, "capacity": capacity, **run_case(llm, count, chosen.short)} for count in chosen.sequences]


def run_case(llm: Any, count: int, short: bool) -> dict[str, Any]:
    from vllm import SamplingParams

    chance, core = random.Random(count), llm.llm_engine
    prompt, new = (256, 16) if short else (PROMPT, NEW)
    words = llm.get_tokenizer().vocab_size
    asked = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
    began, latency = time.perf_counter(), []
    for name in range(count):
        core.add_request(f"{count} {name}", {"prompt_token_ids": [chance.randrange(100, words) for _ in range(prompt)]}, asked)
    while core.has_unfinished_requests():
        latency += [time.perf_counter() - began for output in core.step() if output.finished]
    seconds = time.perf_counter() - began
    p90 = statistics.quantiles(latency, n=10, method="inclusive")[-1] if count > 1 else latency[0]
    return {
        "sequences": count,
        "tokens_per_second": round(count * (prompt + new) / seconds, 1),
        "new_tokens_per_second": round(count * new / seconds, 2),
        "p50_seconds": round(statistics.median(latency), 2),
        "p90_seconds": round(p90, 2),
    }


def run_all(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for cache in chosen.caches:
        with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
            words = [sys.executable, __file__, *sys.argv[1:], "--cache", cache, "--answer", answer.name]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{cache} ended with {done.returncode}:\n{done.stderr[-3000:]}")
            rows += json.load(answer)
            for line in re.findall(r"qjl: [\d,]+ bytes hold .*", done.stdout + done.stderr):
                print(line, file=sys.stderr)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| cache | tokens held | sequences | tokens/s | new tokens/s | p50, s | p90, s |", "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        numbers = (row["sequences"], row["tokens_per_second"], row["new_tokens_per_second"], row["p50_seconds"], row["p90_seconds"])
        lines.append(f"| {row['cache']} | {row['capacity']:,} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder that vLLM reads")
    parser.add_argument("--megabytes", type=int, default=1024, help="of cache memory (default 1024)")
    parser.add_argument("--caches", nargs="+", choices=CACHES, default=list(CACHES))
    parser.add_argument("--sequences", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--eager", action="store_true", help="layers as they are, which vLLM compiles by default")
    parser.add_argument("--short", action="store_true", help="256 + 16 tokens")
    parser.add_argument("--cache", choices=CACHES, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cache:
        chosen.answer.write_text(json.dumps(run_cache(chosen)))
        return
    rows = run_all(chosen)
    for row in rows:
        print(json.dumps(row))
    print(table(rows))


if __name__ == "__main__":
    main()
