"""What is wrong is refused with a status and the field's name, and the server lives on."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
import requests
from conftest import Server

CHAT = [{"role": "user", "content": "Hi"}]
WRONG = ["x", [1], {"a": 1}, True, -1e30, 1e30]

# field, values that are no values of it
FIELDS = {
    "temperature": ["x", [1], {}, True, -0.1, 2.1],
    "top_p": ["x", [], True, -0.1, 1.1],
    "min_p": ["x", True, -1, 2],
    "top_k": ["x", 1.5, True, -2],
    "n": ["x", 0, -1, 1.5, 129, True],
    "seed": ["x", 1.5, True, 2**70],
    "frequency_penalty": ["x", True, -2.1, 2.1],
    "presence_penalty": ["x", True, -2.1, 2.1],
    "repeat_penalty": ["x", True, 0, -1],
    "logit_bias": ["x", [1], {"a": 1}, {"1": "x"}, {"1": 101}, {"-1": 1}, {"999999": 1}, {"1": True}],
    "stop": [1, [1], ["a"] * 17, {}, True, "", [""]],
    "stop_token_ids": ["x", [-1], [1.5], [10**9], {}, True],
    "stream": ["x", 1, []],
    "stream_options": [{"include_usage": True}, "x", []],
    "ignore_eos": ["x", 1],
    "min_tokens": ["x", -1, 1.5],
    "cache_prompt": ["x", 1],
    "cache_salt": [1, "x" * 300],
    "qjl": ["x", [1]],
    "return_token_ids": ["x", 1],
}
COMPLETION_FIELDS = {
    "prompt": [1, {}, True, [], [{}], [[]], [["a"]], [-1], [10**9], [1, "a"], "", [[1.5]]],
    "max_tokens": ["x", -1, 1.5, 0, True, 2**40],
    "logprobs": ["x", -1, 21, 1.5, True],
    "echo": ["x", 1],
}
CHAT_FIELDS = {
    "messages": ["x", [], 1, {}],
    "messages[0]": [["x"], [1]],
    "messages[0].role": [[{"content": "x"}], [{"role": 1, "content": "x"}]],
    "messages[0].content": [
        [{"role": "user"}],
        [{"role": "user", "content": 1}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}],
        [{"role": "user", "content": ["x"]}],
    ],
    "max_tokens": ["x", -1, 0, 1.5],
    "max_completion_tokens": ["x", -1, 0],
    "logprobs": ["x", 1],
    "top_logprobs": [5, "x", -1, 21],
    "chat_template_kwargs": ["x", [1]],
    "continue_final_message": ["x", True],
}
REFUSED = {
    "suffix": "x", "best_of": 2, "tools": [{}], "tool_choice": "auto", "functions": [{}], "modalities": ["text"], "audio": {"a": 1},
    "prediction": {"a": 1}, "web_search_options": {"a": 1}, "lora": [1], "use_beam_search": True, "truncate_prompt_tokens": 5,
    "prompt_logprobs": 1, "grammar": "root ::= x",
}  # fmt: skip


def is_fault(answer: requests.Response, status: int, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert status in (404, 405, 501) or not re.search(r"(?<![\w.])/\w+/\w", error["message"]), error[
        "message"
    ]  # no path of the machine
    assert ".cpp" not in error["message"]


def ask(server: Server, endpoint: str, more: dict) -> requests.Response:
    first = {"prompt": "x"} if endpoint == "completions" else {"messages": CHAT}
    return server.post("/v1/" + endpoint, {**first, "max_tokens": 1, **more})


@pytest.mark.parametrize("endpoint", ["completions", "chat/completions"])
def test_every_field_has_its_type_and_range(server: Server, endpoint: str) -> None:
    own = COMPLETION_FIELDS if endpoint == "completions" else CHAT_FIELDS
    for field, values in {**FIELDS, **own}.items():
        for value in values:
            is_fault(ask(server, endpoint, {field.split("[")[0]: value}), 400, field)
    for chunk in (100, 200, 1024):
        is_fault(ask(server, endpoint, {"qjl": {"chunk": chunk}}), 400, "qjl.chunk")
    for field, value in REFUSED.items():
        answer = ask(server, endpoint, {field: value})
        is_fault(answer, 400, field)
        assert answer.json()["error"]["code"] == "unsupported_parameter"
    assert ask(server, endpoint, dict.fromkeys({**FIELDS, **REFUSED})).status_code == 200


BODIES = [
    b"", b"{", b'{"prompt": "x"', b"[]", b"null", b"1", b'"x"', b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}', b'{"temperature": 1e999}',
    b"[" * 100_000, b'{"prompt":' + b"[" * 70 + b"1" + b"]" * 70 + b"}", b"\x00" * 10, b'{"a":NaN}', b"{}{}",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/cache/damage"])
def test_bodies_that_are_no_json_objects(server: Server, path: str) -> None:
    for body in BODIES:
        is_fault(requests.post(server.url + path, data=body, timeout=60), 400)
    assert server.get("/health").status_code == 200


def test_other_paths_and_methods(server: Server) -> None:
    for path in ("/v1/embeddings", "/v1/responses", "/v1/messages", "/api/chat", "/completion", "/infill"):
        answer = server.post(path, {})
        is_fault(answer, 501)
        assert "/v1/chat/completions" in answer.json()["error"]["message"]
    for path in ("/nothing", "/v1", "/cache/x", "/../etc/passwd", "/v1/models/"):
        is_fault(server.get(path), 404)
    for method, path, allow in (
        ("GET", "/v1/completions", "POST"),
        ("POST", "/health", "GET"),
        ("PUT", "/cache/prefixes", "GET, POST"),
    ):
        answer = requests.request(method, server.url + path, timeout=60)
        is_fault(answer, 405)
        assert answer.headers["Allow"] == allow


def test_prompts_that_never_fit(server: Server) -> None:
    for body in ({"prompt": "word " * 6000, "max_tokens": 1}, {"prompt": "x", "max_tokens": 5000}):
        answer = server.post("/v1/completions", body)
        is_fault(answer, 400)
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        assert "4096" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["../x", "", ".x", "a/b", "x" * 101, "a\u0000b", "\u00e9", 1, None])
def test_names_of_prefixes(server: Server, name: object) -> None:
    is_fault(server.post("/cache/prefixes", {"name": name, "prompt": "word " * 300}), 400, "name")


def test_large_bodies(server: Server) -> None:
    read = 0
    for data in (b"x" * (17 << 20), (b"x" * (1 << 20) for _ in range(20))):
        with contextlib.suppress(requests.ConnectionError):  # a client that sends on without reading sees the connection close
            is_fault(requests.post(server.url + "/v1/completions", data=data, timeout=60), 413)
            read += 1
    assert read > 0
    assert server.get("/health").status_code == 200
    deep = json.dumps({"prompt": "x", "metadata": {"a": [[[[1]]]]}, "max_tokens": 1})
    assert requests.post(server.url + "/v1/completions", data=deep, timeout=60).status_code == 200
