"""SmolLM2-135M in fp32 on pages of South!: Transformers, exact pages, k3v2 in an evaluation."""

from __future__ import annotations

import math
from typing import Any

from asking import ROOT, SMOLLM2

LENGTHS = (5, 40, 128, 300, 700, 1500)
NEW_TOKENS = 32
SEQUENCES = 16
SCORED, LAST = 3328, 255  # as `qjl eval -c 3328 --prompt 3072` scores them


def engine(**more: Any) -> Any:
    from vllm import LLM

    given = {"kv_cache_memory_bytes": 512 << 20, "max_num_seqs": 8, "max_num_batched_tokens": 256, **more}
    return LLM(model=str(SMOLLM2), dtype="float32", enforce_eager=True, max_model_len=4096, seed=0, **given)


def south(tokenizer: Any) -> list[int]:
    text = (ROOT / "examples/texts/south.txt").read_text(encoding="utf-8")
    return tokenizer(text[:40000]).input_ids


def prompts(tokenizer: Any) -> list[list[int]]:
    ids = south(tokenizer)
    return [ids[7 * i : 7 * i + n] for i, n in enumerate(LENGTHS)]


def answers(llm: Any, salt: str | None = None) -> list[list[int]]:
    from vllm import SamplingParams

    asked = [{"prompt_token_ids": ids, **({"cache_salt": salt} if salt else {})} for ids in prompts(llm.get_tokenizer())]
    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)
    return [list(each.outputs[0].token_ids) for each in llm.generate(asked, greedy, use_tqdm=False)]


def scores(llm: Any) -> list[float]:
    """Of each token of the text after the first."""
    from vllm import SamplingParams

    ids = south(llm.get_tokenizer())[:SCORED]
    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
    found = llm.generate([{"prompt_token_ids": ids}], asked, use_tqdm=False)[0].prompt_logprobs
    return [found[i][token].logprob for i, token in enumerate(ids) if i]


def perplexity(scored: list[float]) -> float:
    return math.exp(-sum(scored[-LAST:]) / LAST)


def by_transformers() -> dict[str, Any]:
    """Tokens, by how many nats each of them is ahead of the second best, and scores as of `scores`."""
    import torch
    from asking import written
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(SMOLLM2), AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32)
    ids = torch.tensor([south(tokenizer)[:SCORED]])
    with torch.no_grad():
        scored = -torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:], reduction="none")
    return {**written(model, prompts(tokenizer), NEW_TOKENS), "scores": scored.tolist()}


def exact() -> dict[str, Any]:
    llm = engine(additional_config={"qjl": {"cache": "f16"}})
    return {"tokens": answers(llm), "again": answers(llm), "alone": answers(llm, salt="no prefix is found")}


def evaluation() -> dict[str, Any]:
    options = {"qjl": {"cache": "k3v2", "evaluate": True}}
    llm = engine(additional_config=options, kv_cache_memory_bytes=256 << 20, max_num_seqs=SEQUENCES)
    return {"scores": scores(llm), "capacity": llm.collective_rpc(capacity)[0]}


def capacity(worker: Any) -> dict[str, list[int]]:
    """By budget: tokens that we hold, tails counted, and that vLLM's own cache holds in bf16."""
    import torch
    from qjl.vllm.capacity import stock_specs, tokens_held
    from qjl.vllm.memory import tail_bytes

    tails, stock = tail_bytes(worker.own, SEQUENCES), stock_specs(worker.specs, worker.own, torch.bfloat16)
    budgets = {"256 MiB": 256 << 20, "1 GiB": 1 << 30}
    return {
        name: [tokens_held(worker.vllm_config, worker.specs, given - tails), tokens_held(worker.vllm_config, stock, given)]
        for name, given in budgets.items()
    }
