"""Gemma 3 270M in fp32: three full layers of ours among fifteen windows of vLLM's own."""

from __future__ import annotations

from typing import Any

import torch
from asking import GEMMA, ROOT

LENGTHS = (5, 130, 400, 900)  # the window is 512
NEW_TOKENS = 24


def prompts(tokenizer: Any) -> list[list[int]]:
    text = (ROOT / "examples/texts/south.txt").read_text(encoding="utf-8")
    ids = tokenizer(text[:12000]).input_ids
    return [ids[:n] for n in LENGTHS]


def by_transformers() -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(GEMMA, dtype=torch.float32).eval()
    asked = prompts(AutoTokenizer.from_pretrained(GEMMA))
    with torch.no_grad():
        found = [
            model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False)[0]
            for ids in asked
        ]
    return {"tokens": [out[len(ids) :].tolist() for out, ids in zip(found, asked, strict=True)]}


def exact() -> dict[str, Any]:
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(GEMMA), dtype="float32", enforce_eager=True, max_model_len=2048, kv_cache_memory_bytes=256 << 20, max_num_seqs=4,
        max_num_batched_tokens=256, seed=0, additional_config={"qjl": {"cache": "f16"}},
    )  # fmt: skip
    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, min_tokens=NEW_TOKENS, ignore_eos=True)
    asked = [{"prompt_token_ids": ids} for ids in prompts(llm.get_tokenizer())]
    runs = [[list(each.outputs[0].token_ids) for each in llm.generate(asked, greedy, use_tqdm=False)] for _ in range(2)]
    return {"tokens": runs[0], "again": runs[1]}
