"""One worker with a cache too small for all: repeated prefixes, two hundred requests with aborts, a request that fails."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from scenarios_tiny import (
    NEW_TOKENS,
    POISON,
    allocated,
    answers,
    engine,
    own_state,
    prompt,
    prompts,
    resident,
    sealed_pages,
    tiny_llama,
)

REQUESTS, AT_ONCE, KINDS = 200, 24, 20
KINDS_OF_PROMPT = [prompt(tokens, seed=2) for tokens in range(10, 10 + 40 * KINDS, 40)]


def one_worker() -> dict[str, Any]:
    # oneDNN keeps a compiled product for each number of rows that it has met, up to 1024: some 20 MB a hundred requests, with any cache.
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "16"
    with tempfile.TemporaryDirectory() as folder:
        tiny_llama(Path(folder))
        llm = engine(
            Path(folder), kv_cache_memory_bytes=10 << 20, max_model_len=1536, disable_log_stats=False, max_num_batched_tokens=256
        )
    found: dict[str, Any] = {"blocks": llm.llm_engine.vllm_config.cache_config.num_gpu_blocks}
    found["pages"] = sealed_pages(llm)
    found["tokens"] = answers(llm, prompts())
    found["again"] = answers(llm, prompts())
    found["alone"] = answers(llm, prompts(), salt="no prefix is found")
    found["prefix"] = repeated_prefix(llm)
    found["wanted"] = [answers(llm, [ids])[0] for ids in KINDS_OF_PROMPT]
    found["mixed"] = mixed(llm)
    found["failed"] = failed(llm)
    found["after"] = answers(llm, prompts())
    found["rest"] = at_rest(llm)
    return found


def repeated_prefix(llm: Any) -> list[dict[str, Any]]:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, detokenize=False)
    asked = {"prompt_token_ids": prompt(1030, seed=3)}
    runs = [llm.generate([asked], greedy, use_tqdm=False)[0] for _ in range(2)]
    return [{"cached": run.num_cached_tokens, "tokens": list(run.outputs[0].token_ids)} for run in runs]


def metric(llm: Any, name: str) -> float:
    return sum(each.value for each in llm.get_metrics() if each.name == name)


def at_rest(llm: Any) -> dict[str, Any]:
    """Once the engine has told its worker of the last requests."""
    for _ in range(50):
        taken = llm.collective_rpc(own_state)[0]["taken"]
        if not any(taken):
            break
        time.sleep(0.1)
    answers(llm, [prompt(3)])
    return {"taken": taken, "usage": metric(llm, "vllm:kv_cache_usage_perc")}


def mixed(llm: Any) -> dict[str, Any]:
    """Requests come and go; a quarter is aborted. finished: (kind of prompt, its tokens). memory: resident
    and allocated after a hundred of them have ended, and after all."""
    from vllm import SamplingParams

    chance, core = random.Random(11), llm.llm_engine
    kinds: dict[str, int] = {}
    finished, memory, aborted = [], [], 0
    sent = 0

    def ended() -> int:
        return len(finished) + aborted

    while sent < REQUESTS or kinds:
        while sent < REQUESTS and len(kinds) < AT_ONCE:
            kind, name = chance.randrange(KINDS), f"mixed {sent}"
            greedy = SamplingParams(temperature=0, max_tokens=chance.randint(1, NEW_TOKENS), ignore_eos=True, detokenize=False)
            given = {"prompt_token_ids": KINDS_OF_PROMPT[kind]}
            core.add_request(name, {**given, "cache_salt": name} if chance.random() < 0.5 else given, greedy)
            kinds[name], sent = kind, sent + 1
        for output in core.step():
            if output.finished:
                finished.append((kinds.pop(output.request_id), list(output.outputs[0].token_ids)))
        if kinds and chance.random() < 0.03:
            name = chance.choice(list(kinds))
            core.abort_request([name])
            kinds.pop(name)
            aborted += 1
        if len(memory) < ended() // (REQUESTS // 2):
            memory.append([llm.collective_rpc(each)[0] for each in (resident, allocated)])
    preemptions = metric(llm, "vllm:num_preemptions")
    return {"finished": finished, "aborted": aborted, "memory": memory, "preemptions": preemptions, **at_rest(llm)}


def failed(llm: Any) -> list[str]:
    """How a request with a token whose keys are no numbers ends."""
    from vllm import SamplingParams

    core = llm.llm_engine
    core.add_request("poison", {"prompt_token_ids": [5, POISON, 6]}, SamplingParams(temperature=0, max_tokens=4, detokenize=False))
    reasons = []
    while core.has_unfinished_requests():
        reasons += [str(output.outputs[0].finish_reason) for output in core.step() if output.finished]
    return reasons
