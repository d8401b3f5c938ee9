"""The same text by one worker and by two, which share heads (tensor parallel) or layers (pipeline parallel).

    VLLM_CPU_OMP_THREADS_BIND="0|1" python examples/vllm/two_workers.py MODEL [--pipeline] [--cache k3v2]

Each worker has the memory of the budget; rotations and seeds know no rank, so that a head's pages have the bytes that they have in one
worker.
"""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description="two workers with a compressed cache")
    parser.add_argument("model")
    parser.add_argument("--cache", default="k3v2", help="cache type (default k3v2)")
    parser.add_argument("--pipeline", action="store_true", help="share layers, not heads")
    chosen = parser.parse_args()

    from vllm import LLM, SamplingParams

    way = "pipeline_parallel_size" if chosen.pipeline else "tensor_parallel_size"
    llm = LLM(
        model=chosen.model,
        max_model_len=2048,
        max_num_seqs=16,
        kv_cache_memory_bytes=256 << 20,
        additional_config={"qjl": {"cache": chosen.cache}},
        **{way: 2},
    )
    for answer in llm.generate(["The capital of France is", "Once upon a time"], SamplingParams(temperature=0, max_tokens=24)):
        print(answer.prompt, answer.outputs[0].text)


if __name__ == "__main__":  # vLLM starts its processes from this file
    main()
