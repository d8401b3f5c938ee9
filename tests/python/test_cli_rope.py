"""Options of RoPE, by llama.cpp's names, and contexts beyond the trained one."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Program

PROMPT = "The capital of France is"


@pytest.fixture
def answer(qjl: Program, model: Path):
    def run(*words: object) -> str:
        done = qjl("run", "-m", model, "-t", 1, "-n", 8, "--arithmetic", "exact", "--cache", "f16", "-p", PROMPT, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_names_that_mean_the_same(answer):
    plain, scaled = answer(), answer("--rope-scale", 4)
    assert plain != scaled
    assert answer("--rope-freq-scale", 0.25) == scaled
    assert answer("--rope-scaling", "linear", "--rope-scale", 4) == scaled
    assert answer("--rope-scaling", "none") == plain
    assert answer("--rope-scaling", "yarn", "--rope-scale", 4, "--yarn-ext-factor", 0, "--yarn-attn-factor", 1) == scaled
    assert answer("--rope-freq-base", 100000) == plain  # the model's own
    assert answer("--rope-freq-base", 20) != plain
    assert answer("--rope-scaling", "yarn", "--rope-scale", 1) == plain


def test_yarn_keeps_what_linear_loses(answer):
    """Few turns within the context are all that YaRN slows down: at a factor of 4 the model still answers."""
    yarn = ("--rope-scaling", "yarn", "--rope-scale", 4)
    assert "Paris" in answer(*yarn)
    assert answer(*yarn, "--yarn-orig-ctx", 16, "--yarn-beta-fast", 2, "--yarn-beta-slow", 1) != answer(*yarn)


@pytest.mark.parametrize(
    "words",
    [
        ("--rope-scale", 2, "--rope-freq-scale", 0.5),
        ("--rope-scale", -1),
        ("--rope-scaling", "dynamic"),
        ("--yarn-ext-factor", 2),
        ("--rope-freq-base", 0),
        ("--rope-scaling", "none", "--rope-scale", 4),
        ("--rope-scaling", "none", "--rope-freq-scale", 0.25),
        ("--yarn-orig-ctx", 64),
        ("--rope-scale", 4, "--yarn-attn-factor", 1),
        ("--rope-scaling", "linear", "--yarn-beta-fast", 16),
    ],
)
def test_wrong_words_are_usage_errors(qjl, model, words):
    done = qjl("run", "-m", model, "-p", PROMPT, *words)
    assert done.returncode == 2, done.stderr
    assert words[0] in done.stderr or words[-2] in done.stderr


def test_a_context_above_the_trained_one_is_told_of(qjl, model):
    done = qjl("run", "-m", model, "-t", 1, "-n", 2, "-c", 20000, "-p", PROMPT)
    assert done.returncode == 0, done.stderr
    assert "20000" in done.stderr and "8192" in done.stderr
    assert not qjl("run", "-m", model, "-t", 1, "-n", 2, "-c", 8192, "-p", PROMPT).stderr
