"""Words as people write them: line ends of other systems, numbers in other clothes, options of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
from conftest import Program
from tiny_models import write_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("everyday") / "tiny.gguf", context=4096)


def prompt_tokens(qjl: Program, tiny: Path, *words: object) -> int:
    done = qjl("run", "-m", tiny, "-n", 1, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["prompt_tokens"]


@pytest.mark.parametrize("content", ["hello", "hello\n", "hello\r\n", "\ufeffhello\n"])
def test_what_editors_add_to_a_file_is_no_text(qjl: Program, tiny: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "text"
    file.write_bytes(content.encode())
    assert prompt_tokens(qjl, tiny, "-f", file) == 5


def test_new_lines_inside_a_file_stay(qjl: Program, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"he\nllo\n\n")
    assert prompt_tokens(qjl, tiny, "-f", file) == 7


def test_escapes_are_read_when_asked_for(qjl: Program, tiny: Path) -> None:
    assert prompt_tokens(qjl, tiny, "-p", r"a\n\t\x41\q") == 11
    assert prompt_tokens(qjl, tiny, "-e", "-p", r"a\n\t\x41\q") == 6


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_a_chat_end_in_either_way(qjl: Program, tiny: Path, end: str) -> None:
    told = f"{chr(0xFEFF)}hello{end}again{end}"
    words = ("chat", "-m", tiny, "-n", 3, "--chat-template", "chatml", "--json")
    expected = [turn["prompt_tokens"] for turn in json.loads(qjl(*words, stdin="hello\nagain").stdout)["turns"]]
    assert [turn["prompt_tokens"] for turn in json.loads(qjl(*words, stdin=told).stdout)["turns"]] == expected


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--temp", "-1"), "--temp: found -1, wanted 0 or more"),
        (("--temp", "nan"), "--temp: found nan, wanted 0 or more"),
        (("--top-p", "1.5"), "--top-p: found 1.5, wanted above 0, at most 1"),
        (("-c", "-1"), "--ctx-size: found -1, wanted a whole number, 0 or more"),
        (("-c", "8k"), "--ctx-size: found 8k, wanted a whole number"),
        (("-n", "-2"), "--n-predict: found -2, wanted a whole number, -1 to"),
        (("-t", "0"), "--threads: found 0, wanted a whole number, 1 to 1024"),
        (("--seed", "18446744073709551616"), "--seed: found 18446744073709551616, wanted 0 to 2^64 - 1"),
        (("--seed", "-2"), "--seed: found -2"),
        (("-ngl", "99"), "found -ngl"),
        (("-fa",), "found -fa"),
        (("-mg", "0"), "found -mg"),
        (("-cnv",), "found -cnv"),
    ],
)
def test_a_word_that_cannot_be_is_told_in_words(qjl: Program, words: tuple[str, ...], part: str) -> None:
    done = qjl("run", "-m", "m.gguf", "-p", "a", "-t", 1, *words)
    assert done.returncode == 2
    assert part in done.stderr
    assert "17976931348623157" not in done.stderr


def test_numbers_are_decimal(qjl: Program, tiny: Path) -> None:
    done = qjl("run", "-m", tiny, "-p", "hello", "-n", "010", "--json")
    assert json.loads(done.stdout)["tokens"] == 10


def test_a_context_of_0_is_the_models(qjl: Program, tiny: Path) -> None:
    assert prompt_tokens(qjl, tiny, "-p", "hello", "-c", 0) == 5


def test_a_value_may_begin_with_a_dash(qjl: Program, tiny: Path) -> None:
    assert prompt_tokens(qjl, tiny, "-p", "-ngl") == 4


def test_the_seed_is_any_of_64_bits_or_by_chance(qjl: Program, tiny: Path) -> None:
    def answer(seed: object) -> tuple[int, str]:
        done = qjl("run", "-m", tiny, "-p", "hello", "-n", 30, "--temp", 1, "--top-k", 0, "--top-p", 1, "--seed", seed, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found["seed"], found["text"]

    assert answer(18446744073709551615)[0] == 18446744073709551615
    one, other = answer(-1), answer(-1)
    assert one != other
    assert answer(one[0]) == one  # which is told, so that the answer can be had again


def test_special_tokens_of_an_answer_are_shown_when_asked_for(qjl: Program, tmp_path: Path) -> None:
    """Here every token but those of the prompt's bytes is a special one."""
    types = [gguf.TokenType.NORMAL if chr(i) in "helo" else gguf.TokenType.CONTROL for i in range(257)]
    model = write_tiny_model(tmp_path / "special.gguf", types=types)
    words = ("-m", model, "-n", 12, "--json")

    def texts(*more: object, stdin: str = "") -> list[tuple[str, int]]:
        done = qjl(*more, stdin=stdin)
        assert done.returncode == 0, done.stderr
        turns = json.loads(done.stdout).get("turns") or [json.loads(done.stdout)]
        return [(turn["text"], turn["prompt_tokens"]) for turn in turns]

    for verb in (("run", *words, "-p", "hello"), ("chat", *words, "--chat-template", "chatml")):
        stdin = "hello\nhello" if verb[0] == "chat" else ""
        hidden, shown = texts(*verb, stdin=stdin), texts(*verb, "--special", stdin=stdin)
        assert [tokens for _, tokens in shown] == [tokens for _, tokens in hidden]  # what is shown is not said
        for (less, _), (more, _) in zip(hidden, shown, strict=True):
            assert len(less) < len(more) >= 12
    assert texts("run", *words, "-p", "hello", "-sp") == texts("run", *words, "-p", "hello", "--special")
