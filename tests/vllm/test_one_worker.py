"""One worker, a tiny model, exact pages: whatever happens between, answers are those of a run alone."""

from __future__ import annotations

from asking import ask, parts_at_ties_alone
from scenarios_mixed import REQUESTS
from scenarios_tiny import LENGTHS


def test_answers_are_those_of_the_exact_cache() -> None:
    found, wanted = ask("mixed:one_worker").found, ask("tiny:by_transformers").found
    assert len(found["tokens"]) == len(LENGTHS)
    for name in ("tokens", "again", "alone", "after"):
        assert parts_at_ties_alone(found[name], wanted), name


def test_a_repeated_prefix_is_found_in_its_pages() -> None:
    first, second = ask("mixed:one_worker").found["prefix"]
    assert (first["cached"], second["cached"]) == (0, 1024)
    assert first["tokens"] == second["tokens"]


def test_two_hundred_requests_with_aborts_and_preemptions() -> None:
    found = ask("mixed:one_worker").found
    mixed = found["mixed"]
    assert mixed["preemptions"] > 0 and mixed["aborted"] > 10
    assert len(mixed["finished"]) + mixed["aborted"] == REQUESTS
    for kind, tokens in mixed["finished"]:
        assert tokens == found["wanted"][kind][: len(tokens)] and tokens
    assert mixed["taken"] == [0] and mixed["usage"] == 0


def test_memory_does_not_grow() -> None:
    """Over the second hundred of requests. Free pieces of the heap may come and go; 10 kB of each request may not stay."""
    (resident, allocated), (resident_at_end, allocated_at_end) = ask("mixed:one_worker").found["mixed"]["memory"]
    assert allocated_at_end - allocated < 1 << 20
    assert resident_at_end - resident < 8 << 20


def test_an_error_in_a_step_ends_its_requests_alone() -> None:
    answer = ask("mixed:one_worker")
    assert answer.found["failed"] == ["error"]
    assert "a step failed, its 1 requests end" in answer.log
    assert answer.found["rest"] == {"taken": [0], "usage": 0}


def test_the_log_says_what_is_compressed() -> None:
    log = ask("mixed:one_worker").log
    assert "qjl: 4 of 4 layers compressed: f16" in log
    assert "log-likelihoods bypass the compression" in log
