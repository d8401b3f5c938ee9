"""The tail pool of the vLLM plugin, which is told of blocks alone: steps, and random schedules beside a plain account. No vLLM here."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qjl.errors import InvalidArgument, OutOfPages
from qjl.vllm.tails import Growth, Leavers, TailPool

PAGE = 128


def grown(pool: TailPool, *growths: tuple[list[int], int, int]) -> list[int]:
    pool.begin()
    return pool.step([Growth(*growth) for growth in growths])


def test_a_slot_lives_from_the_first_token_to_the_seal() -> None:
    pool = TailPool(2)
    [slot] = grown(pool, ([7], 0, 5))
    assert slot >= 0 and pool.taken == 1
    assert grown(pool, ([7], 5, 127)) == [slot]
    assert grown(pool, ([7], 127, 128)) == [slot]  # its rows are read while the page is sealed
    assert pool.taken == 0


def test_a_slot_goes_on_to_the_next_page() -> None:
    pool = TailPool(1)
    [slot] = grown(pool, ([3], 0, 100))
    assert grown(pool, ([3, 9, 4], 100, 300)) == [slot]
    assert grown(pool, ([3, 9, 4], 300, 301)) == [slot]
    assert pool.taken == 1


def test_whole_pages_need_no_slot() -> None:
    pool = TailPool(1)
    assert grown(pool, ([1, 2], 0, 256)) == [-1]
    assert pool.taken == 0


def test_a_slot_sealed_in_this_step_is_not_given_to_another_one() -> None:
    pool = TailPool(2)
    [slot] = grown(pool, ([1], 0, 100))
    first, second = grown(pool, ([1], 100, 128), ([2], 0, 10))
    assert first == slot != second


def test_the_end_of_a_request_gives_back() -> None:
    pool = TailPool(1)
    grown(pool, ([4, 8], 0, 130))
    pool.give_back([4, 8])
    assert pool.taken == 0
    grown(pool, ([6], 0, 1))


def test_a_page_used_anew_has_lost_its_owner() -> None:
    """Preempted or aborted requests of which nobody told."""
    pool = TailPool(1)
    [slot] = grown(pool, ([4], 0, 60))
    assert grown(pool, ([4], 0, 30)) == [slot]
    assert pool.taken == 1
    with pytest.raises(InvalidArgument, match=r"page 5 holds 60 tokens, wanted a slot"):
        grown(pool, ([5], 60, 61))


def test_a_step_that_several_groups_of_layers_ask_for_is_taken_once() -> None:
    pool = TailPool(1)
    growth = Growth([4], 0, 60)
    pool.begin()
    assert pool.step([growth]) == pool.step([growth])
    pool.begin()
    assert pool.step([Growth([4], 60, 61)])[0] >= 0


def test_too_many_sequences_change_nothing() -> None:
    pool = TailPool(1)
    [slot] = grown(pool, ([1], 0, 60))
    with pytest.raises(OutOfPages, match="1 sequences begin a page, 0 of 1 slots"):
        grown(pool, ([1], 60, 61), ([2], 0, 1))
    assert grown(pool, ([1], 60, 61)) == [slot]


def test_blocks_of_a_preempted_request_are_left_once() -> None:
    """They may have a new owner when it ends at last; once it runs again its blocks are its own."""
    leavers = Leavers()
    assert leavers.of_step((), ["a"], ["b"]) == {"a"}
    assert leavers.of_step(["a"], (), ["b"]) == set()
    assert leavers.of_step((), ["b"], ["c"]) == {"b"}
    assert leavers.of_step((), (), ["b", "c"]) == set()
    assert leavers.of_step(["b", "c"], (), ()) == {"b", "c"}
    assert leavers.of_step((), ["d"], ["d"]) == {"d"}  # preempted and begun again at once
    assert leavers.of_step(["d"], (), ()) == {"d"}
    assert leavers.of_step(["e"], ["e"], ()) == {"e"}
    assert leavers.of_step(["e"], (), ()) == {"e"}  # another request of that name


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), slots=st.integers(1, 5), told=st.booleans())
def test_random_schedules(seed: int, slots: int, told: bool) -> None:
    """Sequences grow, end, are aborted and start again on blocks of others. Rows are a stamp of (sequence, page) for each slot: the
    slot of a sequence must hold its own stamp whenever it goes on, and none is taken when all are gone."""
    chance = random.Random(seed)
    pool, free = TailPool(slots), list(range(1, 20))
    running: dict[int, tuple[list[int], int]] = {}
    stamps: dict[int, int] = {}
    for name in range(60):
        if running and chance.random() < 0.3:
            blocks, _ = running.pop(chance.choice(list(running)))
            if told:
                pool.give_back(blocks)
            free.extend(blocks)
        if len(running) < slots:
            running[name] = ([], 0)
        step = []
        for sequence in chance.sample(list(running), chance.randint(0, len(running))):
            blocks, before = running[sequence]
            after = before + chance.choice([1, 1, 40, PAGE - before % PAGE, 300])
            needed = -(-after // PAGE) - len(blocks)
            if needed > len(free):
                continue
            blocks = blocks + [free.pop(0) for _ in range(needed)]  # the longest free first, as vLLM does
            running[sequence] = (blocks, after)
            step.append((sequence, Growth(blocks, before, after)))
        pool.begin()
        try:
            found = pool.step([growth for _, growth in step])
        except OutOfPages:
            assert not told  # slots of sequences that ended silently are known only when their blocks return
            return
        assert len({slot for slot in found if slot >= 0}) == sum(slot >= 0 for slot in found)
        for (sequence, growth), slot in zip(step, found, strict=True):
            if growth.before % PAGE:
                assert stamps[slot] == sequence
            if growth.after % PAGE:
                stamps[slot] = sequence
        if told:
            assert pool.taken == sum(after % PAGE != 0 for _, after in running.values())
    for blocks, _ in running.values():
        pool.give_back(blocks)
    if told:
        assert pool.taken == 0
