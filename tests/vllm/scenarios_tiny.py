"""A random Llama of four layers in fp32: its answers by Transformers, by one worker, by two, and by many requests at once."""

from __future__ import annotations

import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from asking import written

HEADS, KV_HEADS, VOCAB = 8, 2, 512
BUDGET = 64 << 20
POISON = VOCAB - 1  # a token whose keys are no numbers
LENGTHS = (5, 40, 128, 130, 300, 700)
NEW_TOKENS = 32


def tiny_llama(folder: Path) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=64, max_position_embeddings=4096, initializer_range=0.1, bos_token_id=1,
        eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            one_input_a_channel(layer.self_attn.o_proj.weight)
            one_input_a_channel(layer.mlp.down_proj.weight)
        model.model.embed_tokens.weight[POISON] = torch.nan
        model.lm_head.weight[POISON] = 0
    model.save_pretrained(folder)
    return model


def one_input_a_channel(weight: torch.Tensor) -> None:
    """Leaves one input of each output channel, as large as all were together. A tensor group adds up the inputs of these products rank
    by rank: what is one number and zeros has the same bits in any order."""
    inputs = weight.shape[1]
    chosen = torch.randint(inputs, (len(weight), 1))
    weight.copy_(torch.zeros_like(weight).scatter_(1, chosen, weight.gather(1, chosen) * inputs**0.5))


def prompt(tokens: int, seed: int = 1) -> list[int]:
    chance = random.Random(f"{tokens} {seed}")
    return [chance.randrange(5, VOCAB - 1) for _ in range(tokens)]


def prompts() -> list[list[int]]:
    return [prompt(tokens) for tokens in LENGTHS]


def engine(folder: Path, **more: Any) -> Any:
    from vllm import LLM

    given = {"max_model_len": 1024, "kv_cache_memory_bytes": BUDGET, "max_num_seqs": 8, "max_num_batched_tokens": 256, **more}
    options = {"qjl": {"cache": "f16"}}
    return LLM(
        model=str(folder), skip_tokenizer_init=True, dtype="float32", enforce_eager=True, seed=0, additional_config=options, **given
    )  # fmt: skip


def answers(llm: Any, asked: list[list[int]], salt: str | None = None) -> list[list[int]]:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False)
    given = [{"prompt_token_ids": ids, **({"cache_salt": salt} if salt else {})} for ids in asked]
    return [list(each.outputs[0].token_ids) for each in llm.generate(given, greedy, use_tqdm=False)]


def own_state(worker: Any) -> dict[str, Any]:
    """Of one worker: slots taken, and a hash of what each kv head has in each page, by global head and layer."""
    first = worker.rank % worker.parallel_config.tensor_parallel_size * next(iter(worker.own.values())).impl.num_kv_heads
    pages = {}
    for name, layer in worker.own.items():
        memory = layer.impl.place.pages
        for head in range(memory.shape[1]):
            used = memory[:, head][memory[:, head].flatten(1).any(1)].contiguous()
            hashes = sorted(hashlib.sha256(page.numpy().tobytes()).hexdigest()[:16] for page in used)
            pages[f"{name} head {first + head}"] = hashes
    return {"taken": [pool.taken for pool, _ in worker.pools.values()], "pages": pages}


def sealed_pages(llm: Any) -> dict[str, list[str]]:
    """Of a fresh engine, two of every head and layer: of one prompt alone and in one chunk. Beside others its chunks would fall as the
    clock has it, and rows before a chunk are rounded where rows in it are exact."""
    answers(llm, [prompt(2 * 128)])
    return {name: hashes for state in llm.collective_rpc(own_state) for name, hashes in state["pages"].items()}


def resident(worker: Any) -> int:
    import psutil

    return psutil.Process().memory_info().rss


def allocated(worker: Any) -> int:
    """Bytes that are in use in glibc's heap, and in pieces of their own."""
    import ctypes

    class Counts(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t)
            for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
        ]

    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = Counts
    found = libc.mallinfo2()
    return found.uordblks + found.hblkhd


def by_transformers() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return written(tiny_llama(Path(folder)), prompts(), NEW_TOKENS)


def workers(**more: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        tiny_llama(Path(folder))
        llm = engine(Path(folder), **more)
        pages = sealed_pages(llm)
        tokens = answers(llm, prompts())
        answers(llm, [prompt(2 * 128 + 1 - NEW_TOKENS)])  # ends with a whole page: a pipeline tells of an end at its next step
        taken = [state["taken"] for state in llm.collective_rpc(own_state)]
        memory = [llm.collective_rpc(resident)]
        answers(llm, [prompt(900, seed) for seed in range(40)])  # more than the cache holds
        memory.append(llm.collective_rpc(resident))
    return {"tokens": tokens, "memory": memory, "taken": taken, "pages": pages}


def two_tensor_workers() -> dict[str, Any]:
    return workers(tensor_parallel_size=2)


def two_pipeline_workers() -> dict[str, Any]:
    return workers(pipeline_parallel_size=2)


def executor_without_the_package() -> str:
    """What two workers alone say, without an engine, when one of them finds no package: the error of their start."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor

    with tempfile.TemporaryDirectory() as folder:
        tiny_llama(Path(folder))
        options = {"kv_cache_memory_bytes": BUDGET, "max_num_seqs": 8, "additional_config": {"qjl": {"cache": "f16"}}}
        config = EngineArgs(
            model=folder, skip_tokenizer_init=True, dtype="float32", enforce_eager=True, tensor_parallel_size=2, **options
        ).create_engine_config()
        try:
            MultiprocExecutor(config)
        except Exception as error:
            return str(error)
    return ""
