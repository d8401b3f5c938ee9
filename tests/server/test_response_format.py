"""response_format: what a model of random weights over a real vocabulary says is valid under the schema, whatever it is asked."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import gguf
import jsonschema
import openai
import pydantic
import pytest
from conftest import ROOT, Server

sys.path.append(str(ROOT / "tests/python"))
from tiny_models import write_tiny_model

NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
}
SCHEMAS: dict[str, dict] = {
    "person": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "optional": {"type": "object", "properties": {name: {"type": "boolean"} for name in "abcdef"}, "required": ["c"]},
    "map": {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "idea": {"type": "null"}},
        "additionalProperties": {"type": "string", "maxLength": 5},
        "maxProperties": 5,
    },
    "list": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 6},
    "bounds": {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": -0.5, "maximum": 12.75},
        "minItems": 8,
        "maxItems": 8,
    },
    "tuple": {
        "prefixItems": [{"type": "boolean"}, {"const": "x"}, {"type": "null"}],
        "items": False,
        "minItems": 3,
        "type": "array",
    },
    "enum": {"enum": ["red", "green", 1.5, None, {"a": [1, "é"]}]},
    "union": {
        "anyOf": [{"type": "string", "minLength": 3, "maxLength": 6}, {"type": "integer", "maximum": -3}, {"type": "boolean"}]
    },
    "tagged": {
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind", "n"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "t": {"enum": ["x", "y"]}}, "required": ["kind"]},
        ]
    },
    "recursive": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "pattern": {
        "type": "array",
        "items": {"type": "string", "pattern": r"^[A-Z]{2}-\d{1,4}(?:\.x|\"y\")?$"},
        "minItems": 3,
        "maxItems": 3,
    },
    "formats": {
        "type": "object",
        "properties": {"d": {"format": "date-time"}, "u": {"type": "string", "format": "uuid"}, "i": {"format": "ipv4"}},
        "required": ["d", "u", "i"],
    },
    "escaped": {"type": "object", "properties": {'"\\\né': {"type": "null"}}, "required": ['"\\\né']},
    "anything": {"type": "array", "items": {}, "maxItems": 2},
    "text": {"type": "string"},
}


@pytest.fixture(scope="module")
def random_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vocabulary of the default model, its end token too, and weights that never saw a text."""
    fields = gguf.GGUFReader(model).fields

    def texts(name: str) -> list[str]:
        field = fields[f"tokenizer.ggml.{name}"]
        return [bytes(field.parts[at]).decode() for at in field.data]

    types = fields["tokenizer.ggml.token_type"]
    path = tmp_path_factory.mktemp("random") / "random.gguf"
    return write_tiny_model(
        path,
        context=8192,
        tokens=texts("tokens"),
        merges=texts("merges"),
        types=[int(types.parts[at][0]) for at in types.data],
        eos=int(fields["tokenizer.ggml.eos_token_id"].parts[-1][0]),
        template="{% for m in messages %}{{ m.content }}{% endfor %}",
    )


@pytest.fixture(scope="module")
def random_server(serve: Callable, random_model: Path) -> Iterator[Server]:
    with serve("-m", random_model, "--cache", "k3v2,f16", "--alias", "random", "-np", 16) as started:
        yield started


@pytest.fixture(scope="module")
def random_client(random_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=random_server.url + "/v1", api_key="any", max_retries=0, timeout=120)


def form(schema: dict) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def check(text: str, finish: str, schema: dict) -> bool:
    """Whether it is whole; a whole one is valid."""
    if finish == "length":
        return False
    jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)
    return True


# Where a model of no sense hardly ever comes to an end: texts and depths without a limit.
ENDLESS = {"map", "recursive", "anything", "text"}


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_answers_validate(random_client: openai.OpenAI, temperature: float) -> None:
    def ask(name: str, seed: int) -> list[bool]:
        answer = random_client.chat.completions.create(
            model="random",
            messages=[{"role": "user", "content": f"{name} {seed}"}],
            response_format=form(SCHEMAS[name]),
            max_tokens=60 if name in ENDLESS else 400,
            temperature=temperature,
            seed=seed,
            n=2,
        )
        return [check(choice.message.content, choice.finish_reason, SCHEMAS[name]) for choice in answer.choices]

    asked = [(name, seed) for name in SCHEMAS for seed in range(2)]
    with ThreadPoolExecutor(8) as pool:
        whole = dict(zip(asked, pool.map(lambda each: ask(*each), asked), strict=True))
    for name, seed in asked:
        assert name in ENDLESS or all(whole[name, seed]), f"{name} with seed {seed} did not end"


def test_a_stream_is_the_whole(random_client: openai.OpenAI) -> None:
    body = {"model": "random", "prompt": "a list", "max_tokens": 300, "temperature": 1.5, "seed": 3, "n": 3}
    body["extra_body"] = {"response_format": form(SCHEMAS["person"])}
    whole = random_client.completions.create(**body)
    texts = ["", "", ""]
    for chunk in random_client.completions.create(**body, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert all(check(choice.text, choice.finish_reason, SCHEMAS["person"]) for choice in whole.choices)


def test_any_object(random_client: openai.OpenAI) -> None:
    answer = random_client.chat.completions.create(
        model="random",
        messages=[{"role": "user", "content": "x"}],
        response_format={"type": "json_object"},
        max_tokens=80,
        temperature=1.5,
        seed=0,
        n=8,
    )
    whole = [check(choice.message.content, choice.finish_reason, {"type": "object"}) for choice in answer.choices]
    assert any(whole)


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Thing(pydantic.BaseModel):
    name: str = pydantic.Field(description="what it is called", max_length=20)
    colour: Colour
    size: float | None
    parts: list[Literal["a", "b"]] = pydantic.Field(max_length=3)


def test_the_clients_own_call_with_a_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="smol",
        messages=[{"role": "user", "content": "A small red ball called Bo. As JSON."}],
        response_format=Thing,
        max_tokens=200,
        temperature=0,
    )
    assert isinstance(answer.choices[0].message.parsed, Thing)


def test_what_goes_together_and_what_does_not(random_server: Server) -> None:
    def ask(**more: object) -> tuple[int, dict]:
        body = {"prompt": "x", "max_tokens": 100, "temperature": 1.5, "seed": 1, "response_format": form(SCHEMAS["person"]), **more}
        answer = random_server.post("/v1/completions", body)
        return answer.status_code, answer.json()

    status, answer = ask(min_tokens=90, repeat_penalty=1.3, presence_penalty=1, logit_bias={"5": 50}, top_k=3)
    assert status == 200
    assert check(answer["choices"][0]["text"], answer["choices"][0]["finish_reason"], SCHEMAS["person"])
    status, answer = ask(ignore_eos=True)
    assert (status, answer["error"]["param"]) == (400, "ignore_eos")
    brace = random_server.post("/tokenize", {"content": "{"}).json()["tokens"]
    every = random_server.post("/tokenize", {"content": '{"'}).json()["tokens"]
    status, answer = ask(logit_bias={str(token): -100 for token in {*brace, *every}})
    assert status == 500
    assert "logit_bias" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "code", "word"),
    [
        ({"type": "grammar"}, "unsupported_parameter", "json_schema"),
        ({"type": "json_object", "schema": {}}, "unsupported_parameter", "schema"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}}, "unsupported_schema", "`not`"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "text"}}}, "invalid_schema", "#/type"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"title": "x" * 70000}}}, "invalid_value", "65536"),
    ],
)
def test_refusals_name_the_keyword(server: Server, asked: dict, code: str, word: str) -> None:
    for path, body in (("completions", {"prompt": "x"}), ("chat/completions", {"messages": [{"role": "user", "content": "x"}]})):
        answer = server.post(f"/v1/{path}", {**body, "response_format": asked, "max_tokens": 1})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == ("response_format", code)
        assert word in error["message"]


def test_a_schema_is_missing(server: Server) -> None:
    for asked, param in (
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "response_format.json_schema.schema"),
    ):
        answer = server.post("/v1/completions", {"prompt": "x", "response_format": asked})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_plain_text_is_as_before(server: Server) -> None:
    plain = server.complete(seed=1)
    assert server.complete(seed=1, response_format={"type": "text"})["choices"] == plain["choices"]
