"""SmolLM2-135M in fp32 on pages of South!: by Transformers, by vLLM's own cache, by exact pages."""

from __future__ import annotations

import math
from typing import Any

from asking import ROOT, SMOLLM2

LENGTHS = (5, 40, 128, 300, 700, 1500)
NEW_TOKENS = 32
SCORED, LAST = 3328, 255  # as `qjl eval -c 3328 --prompt 3072` scores them
THROUGH_CACHE = 1025  # tokens that Transformers too reads through a compressed cache


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


def perplexity(scored: list[float]) -> float:
    return math.exp(-sum(scored) / len(scored))


def by_transformers() -> dict[str, Any]:
    """Tokens, and by how many nats each of them is ahead of the second best; scores of each token of the text after the first, exactly,
    and of the first ones through a QJLCache, page by page, as an evaluation reads them."""
    import torch
    from asking import written
    from qjl.hf import QJLCache, enabled
    from qjl.hf.forward import cache_argument
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(SMOLLM2), AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32)
    ids = torch.tensor([south(tokenizer)[:SCORED]])

    def scores(logits: torch.Tensor) -> list[float]:
        return (-torch.nn.functional.cross_entropy(logits, ids[0, 1 : 1 + len(logits)], reduction="none")).tolist()

    with torch.no_grad():
        exact = scores(model(ids[:, :-1]).logits[0])
        with enabled(model):
            cache = {cache_argument(model): QJLCache(model.config, "k3v2:sinks=1"), "use_cache": True}
            pages = ids[:, : THROUGH_CACHE - 1].split(128, 1)
            through_cache = scores(torch.cat([model(page, **cache).logits[0] for page in pages]))
    return {**written(model, prompts(tokenizer), NEW_TOKENS), "scores": exact, "through_cache": through_cache}


def three_runs(**options: Any) -> dict[str, Any]:
    llm = engine(**options)
    return {"tokens": answers(llm), "again": answers(llm), "alone": answers(llm, salt="no prefix is found")}


def exact() -> dict[str, Any]:
    return three_runs(additional_config={"qjl": {"cache": "f16"}})


def stock() -> dict[str, Any]:
    """Its first run finds no prefix either."""
    llm = engine()
    tokens = answers(llm)
    return {"tokens": tokens, "again": answers(llm), "alone": tokens}
