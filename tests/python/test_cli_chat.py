"""The program's words on chat templates: a model's own, by name, from a file, none; variables; an empty system message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Program

TURNS = "{% for m in messages %}{{ m.role ~ ' ' ~ m.content ~ ' ' }}{% endfor %}{{ 'more ' * (more | default(0)) }}"


def prompt_tokens(qjl: Program, model: Path, *words: object) -> int:
    result = qjl("run", "-m", model, "-n", 1, "-p", "hello", "--json", *words)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["prompt_tokens"]


def test_a_template_from_a_file_and_its_variables(qjl: Program, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "turns.jinja"
    file.write_text(TURNS)
    words = ("--chat-template", file)
    count = prompt_tokens(qjl, model, *words)
    assert prompt_tokens(qjl, model, *words, "--chat-template-kwargs", '{"more": 7}') == count + 7
    assert prompt_tokens(qjl, model, *words, "--system", "hello") > count
    assert prompt_tokens(qjl, model, "--chat-template", "chatml") > count


def test_an_empty_system_message_is_one(qjl: Program, model: Path) -> None:
    """The default model's template writes a system message of its own where a conversation has none."""
    words = ("--chat-template", "auto")
    assert prompt_tokens(qjl, model, *words, "--system", "") < prompt_tokens(qjl, model, *words)
    assert prompt_tokens(qjl, model, *words, "--system", "") == prompt_tokens(
        qjl, model, "--chat-template", "chatml", "--system", ""
    )


def test_no_template_is_chatml_with_a_warning(qjl: Program, model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(model.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_nonsense", 1))
    result = qjl("run", "-m", bare, "-n", 1, "-p", "hello", "--json", "--chat-template", "auto")
    assert result.returncode == 0
    assert "has no chat template" in result.stderr
    assert json.loads(result.stdout)["prompt_tokens"] == prompt_tokens(qjl, model, "--chat-template", "chatml")
    assert qjl("run", "-m", bare, "-n", 1, "-p", "hello").stderr == ""  # no template was asked for


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--chat-template", "nosuch"), "found --chat-template nosuch, wanted auto, chatml, llama2"),
        (("--chat-template", "auto", "--chat-template-kwargs", "{"), "--chat-template-kwargs"),
        (("--chat-template", "auto", "--chat-template-kwargs", "[1]"), "JSON of type array, wanted an object"),
        (("--chat-template", "auto", "--chat-template-kwargs", "[" * 100), "deeper than 64"),
        (("--chat-template-kwargs", "{}"), "without --chat-template"),
    ],
)
def test_wrong_words(qjl: Program, model: Path, words: tuple[str, ...], part: str) -> None:
    result = qjl("run", "-m", model, "-n", 1, "-p", "hello", *words)
    assert result.returncode == 2
    assert part in result.stderr


def test_errors_of_a_template_have_its_line(qjl: Program, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.jinja"
    for text, part in (
        ("\n{% if %}", "line 2: found %}, wanted"),
        ("\n\n{{ raise_exception('No.') }}", "line 3: the template refuses: No."),
    ):
        file.write_text(text)
        result = qjl("chat", "-m", model, "-n", 1, "--chat-template", file, stdin="hello\n")
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert part in result.stderr
