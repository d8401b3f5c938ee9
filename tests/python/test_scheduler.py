"""Many requests through the scheduler with the default model: what an answer is does not depend on who else is there, whether its
beginning was held already, or whether it was parked. Tokens and bits of log-probabilities are compared."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Request = dict[str, Any]
WAIT: Request = {"wait": True}


@pytest.fixture(scope="module")
def answers(build_dir: Path, model: Path) -> Callable[..., tuple[dict[tuple[int, int], Any], dict[str, Any]]]:
    """answers(requests, cache_mb, reproducible): (request, choice) -> its line, and the last line."""

    def run(
        requests: list[Request], cache_mb: int = 400, reproducible: int = 1
    ) -> tuple[dict[tuple[int, int], Any], dict[str, Any]]:
        words = [str(build_dir / "scheduler_probe"), str(model), str(cache_mb), str(reproducible)]
        text = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert all("error" not in line for line in lines), done.stdout
        return {(line["request"], line["choice"]): line for line in lines[:-1]}, lines[-1]

    return run


def ids(count: int, seed: int) -> list[int]:
    return random.Random(seed).choices(range(100, 40_000), k=count)


def said(line: dict[str, Any]) -> tuple[list[int], list[int]]:
    return line["tokens"], line["logprobs"]


def one_by_one(requests: list[Request]) -> list[Request]:
    return [line for request in requests for line in (request, WAIT)]


def test_mixed_requests_in_a_small_cache_give_what_each_gives_alone(answers: Callable[..., Any]) -> None:
    common = ids(600, 1)
    requests: list[Request] = []
    for i in range(16):
        own = ids(20 + 61 * i, 10 + i)
        prompt = common + own if i % 3 == 0 else own
        requests.append({"prompt": prompt, "max_tokens": 8 + 5 * (i % 5), "seed": i, "temperature": 0.0 if i % 2 else 1.0})
    together, sums = answers(requests, cache_mb=24)
    alone, _ = answers(one_by_one(requests))
    assert sums["memory_bytes"] <= 24 << 20
    assert sum(line["cached"] for line in together.values()) > 0
    for key, line in alone.items():
        assert said(together[key]) == said(line), key


def test_eight_at_once_are_as_one_alone_and_cold_is_warm(answers: Callable[..., Any]) -> None:
    prompt = ids(1100, 2)
    one: Request = {"prompt": prompt, "max_tokens": 24}
    eight, sums = answers([one] * 8)
    again, _ = answers([one, WAIT, one])
    assert again[0, 0]["cached"] == 0
    assert again[1, 0]["cached"] == 1024
    wanted = said(again[0, 0])
    assert said(again[1, 0]) == wanted, "cold is warm"
    for i in range(8):
        assert said(eight[i, 0]) == wanted, i
    assert sums["computed"] == 1100 + 7 * 76 + 8 * 23, "the common beginning is computed once"


def test_choices_by_fork_are_single_answers(answers: Callable[..., Any]) -> None:
    prompt = ids(300, 3)
    forks, _ = answers([{"prompt": prompt, "max_tokens": 20, "temperature": 1.0, "choices": 4, "seed": 7}])
    singles, _ = answers(one_by_one([{"prompt": prompt, "max_tokens": 20, "temperature": 1.0, "seed": 7 + i} for i in range(4)]))
    for i in range(4):
        assert said(forks[0, i]) == said(singles[i, 0]), i


def test_a_parked_answer_is_the_same(answers: Callable[..., Any]) -> None:
    """Two answers of unknown length outgrow what they were promised, 512 tokens; the cache has room for one of them."""
    requests: list[Request] = [
        {"prompt": ids(20, i), "max_tokens": -1, "stop_after": 645, "temperature": 1.0, "seed": i} for i in (4, 5)
    ]
    parked, sums = answers(requests, cache_mb=10)
    roomy, _ = answers(requests)
    assert sums["parkings"] > 0
    assert sums["computed"] == 2 * (20 + 644), "nothing is computed twice"
    for key, line in roomy.items():
        assert said(parked[key]) == said(line), key
