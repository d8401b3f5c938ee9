"""Mixed requests for a while, many of which are given up; resident memory has to stay flat.

    mixed_load.py --program build/release/qjl --model FILE [--seconds 600] [--clients 12]

Every client asks in turn for what chance says: short and long prompts, choices, scores, samples, stops, bad bodies; a third hang up on the
way. Long prompts fill the cache first; the time begins when --warm-up requests are answered. Prints resident memory then and after each
tenth of the time; exits with 1 when the last is larger than the first by more than --growth megabytes, when the server failed a request,
or when something is left in the cache's use.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from pathlib import Path

from servers import Programs, Server, start_ours, usable_threads
from streams import Answer, ask, ask_in_turn, completion

CACHE_MB, FILLING_PROMPTS = 24, 4
TENTHS = 10
WARM_UP_SECONDS = 600  # at most
REFUSED = ("HTTP/1.1 400", "HTTP/1.1 429")
WORDS = (
    "the",
    "of",
    "a",
    "to",
    "in",
    "river",
    "stone",
    "light",
    "house",
    "green",
    "seven",
    "walks",
    "under",
    "old",
    "water",
    "bright",
)


def body(chance: random.Random) -> dict:
    text = " ".join(chance.choices(WORDS, k=chance.choice((4, 40, 400, 1200))))
    more: dict = chance.choice(
        ({}, {"n": 3}, {"logprobs": 3}, {"temperature": 1.0, "seed": 5}, {"stop": [" the"]}, {"ignore_eos": False})
    )
    wrong: dict = chance.choice(({}, {}, {}, {}, {}, {}, {}, {"max_tokens": "many"}, {"temperature": -1}, {"logit_bias": [1]}))
    return {**completion(text, chance.choice((1, 8, 60))), **more, **wrong}


async def client(server: Server, chance: random.Random, over: asyncio.Event, seen: Counter[str]) -> None:
    while not over.is_set():
        asked, answer = body(chance), Answer()
        task = asyncio.create_task(ask(server.port, asked, answer))
        patience = chance.uniform(0, 0.5) if chance.random() < 1 / 3 else None
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(task, patience)
        except OSError as error:  # a connection that was reset is the server's fault, not this script's end
            answer.error = repr(error)
        if answer.error.startswith(REFUSED):
            seen["refused"] += 1
            await asyncio.sleep(0.1)
        elif answer.error:
            seen["failed: " + answer.error] += 1
        elif task.cancelled():
            seen["left"] += 1
        else:
            seen["answered"] += 1


def fill(server: Server) -> None:
    """Idle prefixes take all pages that requests will."""
    bodies = [completion(f"{number} " + "one two three " * 500, 1) for number in range(FILLING_PROMPTS)]
    for answer in ask_in_turn(server.port, bodies):
        if answer.error:
            raise RuntimeError(answer.error)


async def run(server: Server, options: argparse.Namespace) -> tuple[list[int], Counter[str]]:
    seen, over = Counter[str](), asyncio.Event()
    chances = [random.Random(number) for number in range(options.clients)]
    clients = [asyncio.create_task(client(server, each, over, seen)) for each in chances]
    latest = time.monotonic() + WARM_UP_SECONDS
    while seen["answered"] < options.warm_up and time.monotonic() < latest and server.process.poll() is None:
        await asyncio.sleep(0.05)
    if seen["answered"] < options.warm_up:
        seen[f"failed: the warm-up ended early, wanted {options.warm_up} answers"] += 1
    start = time.monotonic()
    resident = [server.resident_bytes()]
    for tenth in range(1, TENTHS + 1):
        await asyncio.sleep(max(0.0, start + tenth / TENTHS * options.seconds - time.monotonic()))
        resident.append(server.resident_bytes())
    over.set()
    await asyncio.gather(*clients)
    return resident, seen


def left_over(server: Server) -> str:
    end = time.monotonic() + 30
    while True:
        state = server.get("/cache")
        used = sum(cache["pages"]["used"] for cache in state["caches"])
        if not state["sequences"] and used == 0:
            return ""
        if time.monotonic() > end:
            return f"{len(state['sequences'])} sequences and {used} used pages are left, wanted none"
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--warm-up", type=int, default=200, help="answers before memory is watched (default 200)")
    parser.add_argument("--growth", type=float, default=5, help="megabytes that resident memory may grow (default 5)")
    options = parser.parse_args()
    words = ("-c", 2048, "--cache-mb", CACHE_MB, "-np", 4, "--max-queue", 16)
    with start_ours(Programs(options.program, options.program, usable_threads()), options.model, *words) as server:
        fill(server)
        resident, seen = asyncio.run(run(server, options))
        faults = [name for name in seen if name.startswith("failed")]
        if left := left_over(server):
            faults.append(left)
    grown = (resident[-1] - resident[0]) / 1e6
    print("resident memory, MB: " + ", ".join(f"{number / 1e6:.1f}" for number in resident))
    print(", ".join(f"{count} {name}" for name, count in sorted(seen.items())))
    if grown > options.growth:
        faults.append(f"memory grew by {grown:.1f} MB, wanted at most {options.growth:g}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
