"""lm-eval's remote models, unmodified, with the server's own tokenizer."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import ROOT, Server

api_models = pytest.importorskip("lm_eval.models.openai_completions", reason="lm_eval is absent; ./dev test installs it")
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.api_models import JsonChatStr  # noqa: E402

PAIRS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " London"),
    ("Two and two are", " four"),
    ("The opposite of hot is", " cold, as everybody knows"),
    ("One \u20ac and two \u00e5", " are letters"),
]


def score(
    server: Server, batch: int, connections: int, pairs: Sequence[tuple[str, str]] = PAIRS, name: str = "smol"
) -> list[tuple[float, bool]]:
    model = api_models.LocalCompletionsAPI(
        base_url=server.url + "/v1/completions",
        model=name,
        tokenizer_backend="remote",
        num_concurrent=connections,
        batch_size=batch,
        max_length=2048,
    )
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    return model.loglikelihood(instances, disable_tqdm=True)


def test_loglikelihoods(server: Server) -> None:
    plain = score(server, 1, 1)
    assert plain[0][0] > plain[1][0]
    assert plain[0][1]  # greedy
    assert not plain[1][1]
    for batch, connections in ((4, 1), (1, 4), (4, 4)):
        for (number, greedy), (expected, expected_greedy) in zip(score(server, batch, connections), plain, strict=True):
            assert number == pytest.approx(expected, abs=0.01)
            assert greedy == expected_greedy


def test_generation_by_chat(server: Server) -> None:
    model = api_models.LocalChatCompletion(
        base_url=server.url + "/v1/chat/completions", model="smol", tokenizer_backend=None, tokenized_requests=False
    )
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    answer = model.model_call(
        [JsonChatStr(json.dumps(messages))], generate=True, gen_kwargs={"max_gen_toks": 16, "until": ["\n\n"], "temperature": 0}
    )
    assert "Paris" in answer["choices"][0]["message"]["content"]


def words_of_south(first: int, count: int) -> str:
    return " ".join((ROOT / "examples/texts/south.txt").read_text().split()[first : first + count])


def test_loglikelihood_is_that_of_eval(serve: Callable, program: Path, model: Path, tmp_path: Path) -> None:
    """In exact arithmetic: the server reads all as a prompt, `qjl eval` token by token, and fast products round these otherwise."""
    context, continuation = words_of_south(0, 300), " " + words_of_south(300, 40)
    with serve("--cache", "f16", "--alias", "smol", "--arithmetic", "exact") as server:
        tokens = [len(server.post("/tokenize", {"content": text}).json()["tokens"]) for text in (context, context + continuation)]
        ((found, _),) = score(server, 1, 1, [(context, continuation)])
    text = tmp_path / "text.txt"
    text.write_text(context + continuation)
    words = ["-c", tokens[1], "--prompt", tokens[0] - 1, "--cache", "f16", "--json"]
    done = subprocess.run([program, "eval", "-m", model, "-f", text, *map(str, words)], capture_output=True, text=True, check=True)
    (result,) = json.loads(done.stdout)["results"]
    scored = result["positions"] - 1  # the last position has no next token
    assert scored == tokens[1] - tokens[0]
    assert found == pytest.approx(-scored * math.log(result["ppl"]), abs=0.01)


def test_scores_read_the_compressed_cache(serve: Callable) -> None:
    """Behind a prefix of a thousand tokens, read in chunks, every score sees pages; a prompt in one pass sees none."""
    questions = [json.loads(line) for line in (ROOT / "tests/vllm/piqa/questions.jsonl").read_text().splitlines()][:1]
    prefix = words_of_south(0, 750) + "\n\n"
    pairs = [
        (f"{prefix}Question: {each['goal']}\nAnswer:", " " + each[choice]) for each in questions for choice in ("sol1", "sol2")
    ]
    found = {}
    for chunk in (128, 2048):
        with serve("--cache", "f16,k2v2", "--cache-mb", 200, "--alias", "smol", "--chunk", chunk) as server:
            found[chunk] = {name: score(server, 1, 1, pairs, f"smol@{name}") for name in ("f16", "k2v2")}
    numbers = lambda chunk, name: [number for number, _ in found[chunk][name]]  # noqa: E731
    assert numbers(2048, "k2v2") == numbers(2048, "f16")
    assert all(abs(k2v2 - f16) > 0.01 for k2v2, f16 in zip(numbers(128, "k2v2"), numbers(128, "f16"), strict=True))
