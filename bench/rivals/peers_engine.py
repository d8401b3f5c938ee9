"""The whole model against llama.cpp with the same file: prompt and decode speed by depth, a batch of eight, resident memory.

Both get the same token ids. A prompt grows in stretches (0 to 512, to 2048, to 7936), llama.cpp's stretch, then ours; its speed at a
length is all tokens over all seconds so far. Decode steps at a depth are timed in rounds that alternate. llama.cpp's quantised
caches are slower beyond a few hundred tokens, so they are measured to 2048; its best type at each point is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from llama_session import CACHE_TYPES, LlamaModel, LlamaSession
from peers_attend import pin
from rows import RowFile
from served import Served

LENGTHS = [512, 2048, 7936]
QUANTISED_LENGTH = 2048  # longest for llama.cpp's quantised caches
CONTEXT = 8192
BATCH, BATCH_DEPTH = 8, 4096
ROUNDS, STEPS = 4, 6


class Llama:
    """A session of llama.cpp with the words of our server."""

    def __init__(self, model: LlamaModel, cache: str, context: int, sequences: int = 1) -> None:
        self.name = f"llama.cpp {cache}"
        self.session = LlamaSession(model, cache, context, sequences)

    def threads(self, count: int) -> None:
        pin(count)
        self.session.set_threads(count)

    def clear(self) -> None:
        self.session.clear()

    def prompt(self, tokens: list[int]) -> float:
        return self.session.prompt(tokens)

    def decode(self, token: int, sequences: int = 1) -> list[float]:
        return self.session.decode(token, STEPS, sequences)


class Ours:
    def __init__(self, served: Served, cache: str) -> None:
        self.name, self.served, self.cache = cache, served, cache

    def open(self, context: int, sequences: int = 1) -> None:
        self.served.ask(op="open", cache=self.cache, context=context, sequences=sequences)

    def threads(self, count: int) -> None:
        self.served.ask(op="threads", count=count)

    def clear(self) -> None:
        self.served.ask(op="truncate", tokens=0)

    def prompt(self, tokens: list[int], copies: int = 0) -> float:
        return self.served.ask(op="prompt", tokens=tokens, copies=copies)["seconds"]

    def decode(self, token: int, sequences: int = 1) -> list[float]:
        return self.served.ask(op="decode", token=token, steps=STEPS, sequences=sequences)["seconds"]


def rest() -> None:
    time.sleep(0.02)  # the other program's threads look for work a while before they sleep


def prompt_stretch(players: list[Llama | Ours], stretch: list[int]) -> dict[str, float]:
    seconds = {}
    for player in players:
        rest()
        seconds[player.name] = player.prompt(stretch)
    return seconds


def decode_rounds(players: list[Llama | Ours], token: int, sequences: int = 1) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {player.name: [] for player in players}
    for _ in range(ROUNDS):
        for player in players:
            rest()
            seconds[player.name] += player.decode(token, sequences)
    return seconds


class EngineBench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.rows = RowFile(options.out)
        self.options = options
        self.lengths = options.tokens or LENGTHS
        self.served = Served([options.build / "qjl_engine_bench", options.model])
        self.ours = Ours(self.served, options.cache)
        self.model = LlamaModel(options.model)
        text = self.model.tokens("\n".join(path.read_text() for path in options.texts))
        self.tokens = text * (1 + CONTEXT // len(text))

    def add_decode(self, depth: int, threads: int, seconds: dict[str, list[float]], batch: int = 1) -> None:
        for name, times in seconds.items():
            median = statistics.median(times)
            quarters = statistics.quantiles(times, n=4)
            self.rows.add(
                kind="decode",
                name=name,
                depth=depth,
                batch=batch,
                threads=threads,
                tokens_per_second=batch / median,
                spread=(quarters[2] - quarters[0]) / median,
            )

    def run_threads(self, threads: int) -> None:
        context = max(self.lengths) + 256
        llamas = [Llama(self.model, cache, context) for cache in CACHE_TYPES]
        self.ours.open(context)
        players = [*llamas, self.ours]
        for player in players:
            player.threads(threads)
            player.prompt(self.tokens[:64])
            player.clear()
        self.add_decode(0, threads, decode_rounds(players, self.tokens[0]))
        total: dict[str, float] = {player.name: 0.0 for player in players}
        begin = 0
        for length in self.lengths:
            if length > QUANTISED_LENGTH:
                players = [player for player in players if player.name == "llama.cpp f16" or player is self.ours]
            for name, seconds in prompt_stretch(players, self.tokens[begin:length]).items():
                total[name] += seconds
                self.rows.add(kind="prompt", name=name, tokens=length, threads=threads, tokens_per_second=length / total[name])
            begin = length
            if length != self.lengths[0]:
                self.add_decode(length, threads, decode_rounds(players, self.tokens[length]))
            self.rows.flush()
        for llama in llamas:
            llama.session.close()

    def run_batch(self) -> None:
        depth = min(BATCH_DEPTH, max(self.lengths))
        llama = Llama(self.model, "f16", depth + 256, BATCH)
        self.ours.open(depth + 256, BATCH)
        players = [llama, self.ours]
        for player in players:
            player.threads(max(self.options.threads))
        llama.prompt(self.tokens[:depth])
        llama.session.copy_first(BATCH)
        self.ours.prompt(self.tokens[:depth], copies=BATCH - 1)
        for threads in self.options.threads:
            for player in players:
                player.threads(threads)
            self.add_decode(depth, threads, decode_rounds(players, self.tokens[depth], BATCH), BATCH)
        llama.session.close()
        self.rows.flush()

    def run_memory(self) -> None:
        """What the cache of 8192 tokens adds to a process: against one that holds 256."""
        context = max(self.lengths) + 256
        for cache in CACHE_TYPES:
            added = llama_resident(self.options, cache, context) - llama_resident(self.options, cache, 256)
            self.rows.add(kind="memory", name=f"llama.cpp {cache}", tokens=context, added_bytes=added)
        added = []
        for tokens in (256, context):
            with Served([self.options.build / "qjl_engine_bench", self.options.model]) as served:
                fresh = Ours(served, self.options.cache)
                fresh.open(context)
                fresh.threads(1)
                for at in range(0, tokens, 256):
                    fresh.prompt(self.tokens[at : min(at + 256, tokens)])
                added.append(served.ask(op="memory"))
        report = added[1]["cache_bytes"]
        difference = added[1]["resident_bytes"] - added[0]["resident_bytes"]
        self.rows.add(kind="memory", name=self.options.cache, tokens=context, added_bytes=difference, reported_bytes=report)
        self.rows.flush()


def llama_resident(options: argparse.Namespace, cache: str, context: int) -> int:
    words = [sys.executable, Path(__file__).with_name("peers.py"), "resident", "--model", options.model, "--llama-cache", cache]
    done = subprocess.run([*map(str, words), "--tokens", str(context)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def print_resident(options: argparse.Namespace) -> None:
    """Resident bytes of a process with llama.cpp's cache of so many tokens, after a short prompt."""
    model = LlamaModel(options.model)
    session = LlamaSession(model, options.llama_cache, options.tokens[0])
    session.prompt(model.tokens("One page after another.")[:8])
    print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)


def bench_engine(options: argparse.Namespace) -> None:
    bench = EngineBench(options)
    for threads in options.threads:
        bench.run_threads(threads)
    bench.run_batch()
    bench.run_memory()
