"""Throughput beside llama-server: parts A, B and C.

A  distinct prompts of 512 tokens, 128 tokens out
B  one prefix of 4096 tokens with a question of 32 of each client's own, 128 out: cold (a new prefix, all at once), then warm
C  distinct prompts of 4096 tokens, 64 out

Both servers hold the same file and take turns, a round each. At one client every cache type of llama-server runs; at more the one that
was best there, and of C also q4_0's memory. A row is one server's round.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from row_log import RowLog
from servers import PEER_CACHES, Programs, Server, start_ours, start_peer
from streams import Answer, ask_at_once, completion
from text_tokens import TextTokens

QUESTION = 32
PAGE = 128
LAST_CASE = {"A": "distinct", "B": "warm", "C": "distinct"}  # of a round


@dataclass(frozen=True)
class Part:
    name: str
    prompt: int
    out: int
    rounds: dict[int, int]  # by clients


PARTS = {
    "A": Part("A", 512, 128, {1: 6, 8: 3, 32: 2}),
    "B": Part("B", 4096, 128, {1: 2, 8: 1, 32: 1}),
    "C": Part("C", 4096, 64, {1: 2, 8: 1, 32: 1}),
}
QUICK = {"A": Part("A", 128, 16, {1: 1, 4: 1}), "B": Part("B", 512, 16, {1: 1, 4: 1}), "C": Part("C", 512, 16, {1: 1, 4: 1})}


def percentile(numbers: list[float], share: float) -> float:
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


def summary(answers: list[Answer], seconds: float, tokens: int) -> dict:
    good = [answer for answer in answers if not answer.error]
    firsts = [answer.first for answer in good]
    gaps = [gap for answer in good for gap in answer.gaps]
    return {
        "seconds": round(seconds, 4),
        "tokens_per_second": round(len(good) * tokens / seconds, 2),
        "first_median": round(statistics.median(firsts), 4) if firsts else None,
        "first_p95": round(percentile(firsts, 0.95), 4),
        "first_last": round(max(firsts), 4) if firsts else None,
        "gap_median": round(statistics.median(gaps), 5) if gaps else None,
        "gap_p99": round(percentile(gaps, 0.99), 5),
        "computed": sum(answer.computed for answer in good),
        "errors": len(answers) - len(good),
    }


def timed(server: Server, bodies: list[dict], tokens: int) -> dict:
    start = time.monotonic()
    answers = ask_at_once(server.port, bodies)
    found = summary(answers, time.monotonic() - start, tokens)
    for answer in answers:
        if answer.error:
            raise RuntimeError(f"{server.name} {server.cache}: {answer.error}")
    return found


@dataclass
class Load:
    programs: Programs
    log: RowLog
    text: str
    quick: bool
    clients: list[int]
    say: Callable[[str], None]

    def run(self, name: str, models: dict[str, Path]) -> None:
        part = (QUICK if self.quick else PARTS)[name]
        part = replace(part, rounds={count: rounds for count, rounds in part.rounds.items() if count in self.clients or self.quick})
        for file, model in models.items():
            for clients, rounds in part.rounds.items():
                self.run_case(part, file, model, clients, rounds)
        if name == "C":
            for file, model in models.items():
                self.peer_memory(part, file, model)

    def missing(self, part: Part, file: str, clients: int, rounds: int) -> list[tuple[str, str]]:
        players = [("qjl", "k3v2"), *(("llama.cpp", cache) for cache in self.peer_caches(part, file, clients))]
        return [player for player in players if not self.is_done(part, file, clients, rounds - 1, *player)]

    def is_done(self, part: Part, file: str, clients: int, number: int, server: str, cache: str) -> bool:
        key = {"part": part.name, "file": file, "server": server, "cache": cache, "clients": clients}
        return self.log.has(**key, round=number, case=LAST_CASE[part.name])

    def peer_caches(self, part: Part, file: str, clients: int) -> list[str]:
        if clients == 1:
            return list(PEER_CACHES)
        return [best_cache(self.log, part.name, file)]

    def run_case(self, part: Part, file: str, model: Path, clients: int, rounds: int) -> None:
        players = self.missing(part, file, clients, rounds)
        if not players:
            return
        with ExitStack() as stack:
            servers = [stack.enter_context(self.start(part, model, clients, *player)) for player in players]
            tokens = TextTokens(servers[0], self.text) if servers[0].name == "qjl" else self.tokens_by(stack, model)
            for server in servers:
                timed(server, [completion(tokens.prompt(64), 4)], 4)  # packs weights, touches buffers
            for number in range(rounds):
                for server in servers:
                    if self.is_done(part, file, clients, number, server.name, server.cache):
                        continue
                    tokens.skip(1000 * (number + 1) + clients)  # the same prompts for every server
                    for case, found in self.round(part, server, tokens, clients):
                        row = {"part": part.name, "file": file, "server": server.name, "cache": server.cache, "clients": clients}
                        self.log.add(
                            **row, case=case, **found, peak_bytes=server.peak_bytes(), file_bytes=model.stat().st_size, round=number
                        )
                        self.say(
                            f"{part.name} {case} {file} {clients} clients, {server.name} {server.cache}: "
                            f"{found['tokens_per_second']:.1f} tokens/s, first {found['first_median']:.2f} s, {found['seconds']:.1f} s"
                        )

    def tokens_by(self, stack: ExitStack, model: Path) -> TextTokens:
        return TextTokens(stack.enter_context(start_ours(self.programs, model, "-c", 256)), self.text)

    def round(self, part: Part, server: Server, tokens: TextTokens, clients: int) -> Iterator[tuple[str, dict]]:
        def with_questions(prefix: list[int]) -> list[dict]:
            return [completion(prefix + tokens.prompt(QUESTION), part.out) for _ in range(clients)]

        if part.name == "B":
            prefix = tokens.prompt(part.prompt)
            yield "cold", timed(server, with_questions(prefix), part.out)
            yield "warm", timed(server, with_questions(prefix), part.out)
        else:
            bodies = [completion(prompt, part.out) for prompt in tokens.prompts(clients, part.prompt)]
            yield "distinct", timed(server, bodies, part.out)

    def context(self, part: Part) -> int:
        """Of one client, in whole pages, with one page for the end."""
        return -(-(part.prompt + QUESTION + part.out) // PAGE) * PAGE + PAGE

    def start(self, part: Part, model: Path, clients: int, name: str, cache: str) -> Server:
        context = self.context(part)
        if name == "llama.cpp":
            return start_peer(self.programs, model, clients * context, clients, cache)
        megabytes = self.cache_megabytes(model, context, clients)
        return start_ours(self.programs, model, "-c", context, "-np", clients, "--cache-mb", megabytes, cache=cache)

    def cache_megabytes(self, model: Path, context: int, clients: int) -> int:
        """What the clients' pages and open rows take, and a sixteenth for tables."""
        with start_ours(self.programs, model, "-c", 256) as server:
            cache = server.get("/cache")["caches"][0]
        f16_page = cache["budget_bytes"] / max(1, cache["capacity_tokens_f16"] / PAGE)
        each = context // PAGE * cache["page_bytes"] + 2 * f16_page
        return int(clients * each * 17 / 16 / 1e6) + 4

    def peer_memory(self, part: Part, file: str, model: Path) -> None:
        """llama-server takes all of its cache at its start, so one client's round shows the memory of any."""
        for clients in (count for count in part.rounds if count > 1):
            for cache in ("f16", "q4_0"):
                key = {"part": part.name, "file": file, "server": "llama.cpp", "cache": cache, "clients": clients}
                if self.log.has(**key):
                    continue
                with ExitStack() as stack:
                    server = stack.enter_context(self.start(part, model, clients, "llama.cpp", cache))
                    found = timed(server, [completion("A text. " * (part.prompt // 8), 16)], 16)
                    peak = {"peak_bytes": server.peak_bytes(), "file_bytes": model.stat().st_size}
                    self.log.add(**key, case="memory", round=0, errors=found["errors"], **peak)


def best_cache(log: RowLog, part: str, file: str) -> str:
    """llama-server's fastest at one client."""
    rows = [row for row in log.of(part=part, file=file, server="llama.cpp", clients=1) if row["case"] != "cold"]
    speeds = {cache: [row["tokens_per_second"] for row in rows if row["cache"] == cache] for cache in PEER_CACHES}
    if not any(speeds.values()):
        sys.exit(
            f"part {part} of {file}: found no row of llama.cpp at one client; --clients 1 says which cache type more clients get"
        )
    return max((cache for cache in PEER_CACHES if speeds[cache]), key=lambda cache: statistics.median(speeds[cache]))
