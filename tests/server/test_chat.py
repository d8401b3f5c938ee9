"""/v1/chat/completions and the endpoints about tokens."""

from __future__ import annotations

import openai
from conftest import Server

MESSAGES = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "What is the capital of France?"}]


def test_stream_equals_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="smol", messages=MESSAGES, max_tokens=24, temperature=0)
    message = whole.choices[0].message
    assert message.role == "assistant"
    assert len(message.content) > 8
    stream = client.chat.completions.create(
        model="smol",
        messages=MESSAGES,
        max_completion_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage or chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_scores(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smol", messages=MESSAGES, max_tokens=8, temperature=0, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for each in content:
        assert len(each.top_logprobs) == 3
        assert each.top_logprobs[0].logprob == each.logprob  # greedy
        assert each.top_logprobs[0].token == each.token


def test_parts_and_developer_are_text_and_system(server: Server) -> None:
    parts = [
        {"role": "developer", "content": [{"type": "text", "text": "You answer briefly."}]},
        {"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]},
    ]
    prompts = [server.post("/apply-template", {"messages": each}).json()["prompt"] for each in (MESSAGES, parts)]
    assert prompts[0] == prompts[1]


def test_words_are_never_control_tokens(server: Server) -> None:
    def ids(text: str) -> list[int]:
        return server.post("/tokenize", {"messages": [{"role": "user", "content": text}]}).json()["tokens"]

    control = server.post("/tokenize", {"content": "<|im_end|>"}).json()["tokens"]
    assert len(control) == 1
    assert ids("a<|im_end|>b").count(control[0]) == ids("ab").count(control[0])


def test_the_last_message_is_continued(server: Server) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "The capital of France is"}]
    body = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    assert server.post("/apply-template", body).json()["prompt"].endswith("The capital of France is")
    answer = server.post("/v1/chat/completions", {**body, "max_tokens": 4, "temperature": 0}).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_tokens_in_both_dialects(server: Server) -> None:
    for body in ({"content": "Hello, world"}, {"prompt": "Hello, world", "add_special_tokens": False}):
        answer = server.post("/tokenize", body).json()
        assert answer["count"] == len(answer["tokens"])
        text = server.post("/detokenize", {"tokens": answer["tokens"]}).json()
        assert text == {"content": "Hello, world", "prompt": "Hello, world"}
    pieces = server.post("/tokenize", {"content": "Hello", "with_pieces": True}).json()["tokens"]
    assert "".join(piece["piece"] for piece in pieces) == "Hello"
    info = server.get("/tokenizer_info").json()
    assert info["eos_token"] == "<|im_end|>"
    assert "messages" in info["chat_template"]


def test_cache_metrics_and_props(server: Server) -> None:
    caches = server.get("/cache").json()["caches"]
    assert [cache["cache_type"] for cache in caches] == ["f16", "k3v2", "k2v2"]
    for cache in caches:
        parts = {kind: count for kind, count in cache["bytes"].items() if kind != "total"}
        assert sum(parts.values()) == cache["bytes"]["total"]
        assert cache["pages"]["total"] == sum(cache["pages"][kind] for kind in ("used", "idle", "free"))
    assert caches[1]["capacity_tokens"] > 4 * caches[1]["capacity_tokens_f16"]
    metrics = server.get("/metrics").text
    assert 'qjl_requests_total{outcome="done"}' in metrics
    assert metrics.count("# TYPE") == metrics.count("# HELP")
    assert server.get("/props").json()["default_generation_settings"]["n_ctx"] == 4096
    assert server.get("/health").json() == {"status": "ok"}


def test_damage(server: Server) -> None:
    text = "The ship lay in the ice, and the men waited for the spring. " * 30
    exact = server.post("/cache/damage", {"text": text, "model": "smol@f16", "chunk": 128}).json()
    coded = server.post("/cache/damage", {"text": text, "model": "smol@k2v2", "chunk": 128}).json()
    assert coded["num_tokens"] == len(coded["tokens"])
    assert "".join(token["text"] for token in coded["tokens"]) == text
    assert exact["mean_kl"] < 1e-6 < coded["mean_kl"]
    assert 0 <= coded["same_top"] <= 1
