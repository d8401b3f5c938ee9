"""/v1/completions through openai's client and plain requests: one text however it is asked for, stops, scores."""

from __future__ import annotations

import math

import openai
import pytest
from conftest import PROMPT, Server


def test_models(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert ids == ["smol", "smol@k3v2", "smol@k2v2"]
    assert client.models.retrieve("smol@k2v2").id == "smol@k2v2"
    with pytest.raises(openai.NotFoundError) as error:
        client.completions.create(model="smoll", prompt="x")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_one_text_however_it_is_asked_for(client: openai.OpenAI, server: Server) -> None:
    whole = client.completions.create(model="smol", prompt=PROMPT, max_tokens=12, temperature=0)
    text = whole.choices[0].text
    assert "Paris" in text
    assert whole.usage.completion_tokens == 12
    chunks = list(
        client.completions.create(
            model="smol", prompt=PROMPT, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == text
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "length"
    many = client.completions.create(model="smol", prompt=PROMPT, max_tokens=12, temperature=0, n=3)
    assert [choice.text for choice in many.choices] == [text] * 3
    assert many.usage.completion_tokens == 36
    ids = server.post("/tokenize", {"prompt": PROMPT}).json()["tokens"]
    by_ids = client.completions.create(model="smol", prompt=[ids, ids], max_tokens=12, temperature=0)
    assert [choice.text for choice in by_ids.choices] == [text] * 2
    assert by_ids.usage.prompt_tokens == 2 * len(ids)


def test_default_length_is_16(server: Server) -> None:
    assert server.complete(max_tokens=None, ignore_eos=True)["usage"]["completion_tokens"] == 16


def test_stops(server: Server) -> None:
    text = server.complete(max_tokens=24)["choices"][0]["text"]
    stop = text[10:14]
    for stops in (stop, [stop, "never"], ["x" * 50, stop]):
        choice = server.complete(max_tokens=24, stop=stops)["choices"][0]
        assert choice["text"] == text[: text.index(stop)]
        assert choice["finish_reason"] == "stop"
    half = text[-3:] + "\x00never"
    choice = server.complete(max_tokens=24, stop=half)["choices"][0]
    assert choice["text"] == text


def test_a_stream_never_begins_a_stop(client: openai.OpenAI, server: Server) -> None:
    text = server.complete(max_tokens=24)["choices"][0]["text"]
    stop = text[9:18]
    out = ""
    for chunk in client.completions.create(model="smol", prompt=PROMPT, max_tokens=24, temperature=0, stop=stop, stream=True):
        out += chunk.choices[0].text
        assert text[: text.index(stop)].startswith(out)
    assert out == text[: text.index(stop)]


def test_echo_and_scores_as_lm_eval_reads_them(server: Server) -> None:
    answer = server.complete(prompt="One \u20ac and two \u00e5 are", echo=True, logprobs=5, max_tokens=1, return_token_ids=True)
    choice = answer["choices"][0]
    lists = choice["logprobs"]
    count = len(choice["prompt_token_ids"]) + 1
    assert [len(lists[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")] == [count] * 4
    assert len(choice["token_ids"]) == 1
    assert lists["token_logprobs"][0] is None
    assert lists["top_logprobs"][0] is None
    for token, score, top, offset in list(zip(*[lists[k] for k in lists], strict=True))[1:]:
        assert score <= 0
        assert top[token] == score
        assert 5 <= len(top) <= 6
        if not token.startswith("bytes:"):
            assert choice["text"][offset:].startswith(token)
    alone = server.complete(prompt="One \u20ac and two \u00e5 are", echo=True, logprobs=0, max_tokens=0)["choices"][0]
    assert alone["text"] == "One \u20ac and two \u00e5 are"
    numbers = alone["logprobs"]["token_logprobs"]
    assert len(numbers) == count - 1
    for a, b in zip(numbers[1:], lists["token_logprobs"][1:-1], strict=True):
        assert math.isclose(a, b, abs_tol=1e-3)


def test_special_tokens_in_completions_are_the_clients_own(server: Server) -> None:
    rendered = server.post("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]}).json()["prompt"]
    chat = server.post("/tokenize", {"messages": [{"role": "user", "content": "Hi"}]}).json()["tokens"]
    assert server.post("/tokenize", {"prompt": rendered, "add_special_tokens": False}).json()["tokens"] == chat


def test_sampling_repeats_by_seed_and_bias_decides(server: Server) -> None:
    first, again = (server.complete(temperature=1.2, seed=7)["choices"][0]["text"] for _ in range(2))
    assert first == again
    assert any(server.complete(temperature=1.2, seed=seed)["choices"][0]["text"] != first for seed in (8, 9))
    token = server.post("/tokenize", {"content": " blue"}).json()["tokens"][0]
    answer = server.complete(logit_bias={str(token): 100}, max_tokens=3)
    assert answer["choices"][0]["text"] == " blue blue blue"


def test_unknown_fields_are_told_and_known_ones_are_not(server: Server) -> None:
    body = {"prompt": "x", "max_tokens": 1, "chat_id": 1, "mirostat": 2, "user": "me", "metadata": {}}
    answer = server.post("/v1/completions", body, headers={"x-request-id": "abc"})
    assert answer.headers["x-qjl-ignored"] == "chat_id, mirostat"
    assert answer.headers["x-request-id"] == "abc"


def test_usage_accounts_for_the_cache(server: Server) -> None:
    usage = server.complete(model="smol@k3v2", prompt="word " * 600, max_tokens=4)["usage"]
    own = usage["qjl"]
    assert own["cache_type"] == "k3v2"
    assert own["compressed_tokens"] >= 512
    assert 2.0 < own["bits"] < 16.1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
