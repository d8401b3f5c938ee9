"""lm-eval's remote models, unmodified, with the server's own tokenizer."""

from __future__ import annotations

import json

import pytest
from conftest import Server

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


def score(server: Server, batch: int, connections: int) -> list[tuple[float, bool]]:
    model = api_models.LocalCompletionsAPI(
        base_url=server.url + "/v1/completions",
        model="smol",
        tokenizer_backend="remote",
        num_concurrent=connections,
        batch_size=batch,
        max_length=2048,
    )
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(PAIRS)]
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
