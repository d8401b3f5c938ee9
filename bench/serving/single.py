"""What one server does by itself, each part a figure: hold, decode, prefix, gaps, reproducible, chunk, restart. A part that was cut is
measured anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from load import percentile, timed
from row_log import RowLog
from servers import PEER_CACHES, Programs, Server, start_ours, start_peer
from streams import Answer, ask, ask_at_once, ask_in_turn, completion
from text_tokens import TextTokens

sys.path.append(str(Path(__file__).resolve().parents[1] / "common"))
from served import Served

CHUNKS = (128, 256, 512, 1024)


@dataclass
class Single:
    programs: Programs
    engine_bench: Path
    model: Path
    log: RowLog
    text: str
    texts: dict[str, str]
    quick: bool
    say: Callable[[str], None]

    def run(self, name: str) -> None:
        if self.log.has(part=name, case="complete"):
            return
        self.log.forget(name)
        getattr(self, name)()
        self.log.add(part=name, case="complete")

    def add(self, part: str, **row: object) -> None:
        self.log.add(part=part, file="Q4_1", **row)
        self.say(f"{part}: " + ", ".join(f"{name} {value}" for name, value in row.items()))

    def ours(self, *words: object) -> Server:
        return start_ours(self.programs, self.model, *words)

    def size(self, tokens: int) -> int:
        return tokens // 8 if self.quick else tokens

    def hold(self) -> None:
        """How many contexts of 4k are in the cache at once: prompts of 3840 tokens that then make 256 more."""
        for cache in ("k3v2", "f16"):
            with start_ours(self.programs, self.model, "-c", 4096, "-np", 64, "--cache-mb", self.size(512), cache=cache) as server:
                tokens = TextTokens(server, self.text)
                bodies = [completion(prompt, self.size(256)) for prompt in tokens.prompts(40, self.size(3840))]
                held = asyncio.run(most_held(server, bodies, self.size(3840)))
            self.add("hold", server="qjl", cache=cache, contexts=held)

    def decode(self) -> None:
        rounds, made = (1, 32) if self.quick else (5, 256)
        with self.ours("-c", 2048) as server:
            opening = self.text[:2000]
            for number in range(rounds):
                words = [self.programs.ours, "run", "-m", self.model, "-p", opening, "-n", str(made), "--temp", "0", "--json"]
                words += ["-t", str(self.programs.threads), "--cache", "k3v2", "--log-level", "off"]
                run = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                (answer,) = ask_at_once(server.port, [completion(opening, made, cache_prompt=False)])
                speed = (len(answer.times) - 1) / (answer.times[-1] - answer.times[0])
                self.add(
                    "decode", server="qjl", clients=1, round=number, tokens_per_second=round(speed, 1),
                    engine=round(run["decode_tokens_per_second"], 1),
                )  # fmt: skip
        self.decode_eight(rounds)

    def decode_eight(self, rounds: int) -> None:
        """The server's rate while all eight run, beside eight sequences of the engine at the middle of that stretch."""
        prompt, made = 512, 32 if self.quick else 128
        with self.ours("-c", 1024) as server, Served([self.engine_bench, self.model]) as engine:
            tokens = TextTokens(server, self.text)
            engine.ask(op="open", cache="k3v2", context=1024, sequences=8)
            engine.ask(op="threads", count=self.programs.threads)
            engine.ask(op="prompt", tokens=tokens.prompt(prompt + made // 2), copies=7)
            for number in range(rounds):
                steps = engine.ask(op="decode", token=1, steps=24, sequences=8)["seconds"][2:]
                time.sleep(0.1)
                answers = ask_at_once(server.port, [completion(each, made) for each in tokens.prompts(8, prompt)])
                self.add(
                    "decode", server="qjl", clients=8, round=number, tokens_per_second=round(rate_of_all(answers), 1),
                    engine=round(8 / statistics.median(steps), 1),
                )  # fmt: skip

    def prefix(self) -> None:
        """First token of a prompt of 4000 tokens and a question, cold and with the prefix held."""
        for words in ((), ("--reproducible",)):
            with self.ours("-c", 4352, *words) as server:
                tokens = TextTokens(server, self.text)
                for number in range(1 if self.quick else 4):
                    prefix = tokens.prompt(self.size(4000))
                    cold, warm = (ask_at_once(server.port, [completion(prefix + tokens.prompt(32), 8)])[0] for _ in range(2))
                    self.add(
                        "prefix", server="qjl", case=" ".join(words), round=number, cold=round(cold.first, 4),
                        warm=round(warm.first, 4), computed=warm.computed,
                    )  # fmt: skip

    def gaps(self) -> None:
        """Seven streams while a prompt of 8k is read; llama-server with its default batches. A pass: such a prompt's last 512 alone."""
        prompt = self.size(8192)
        players = [
            self.ours("-c", prompt + 512, "-np", 8),
            start_peer(self.programs, self.model, 2 * prompt + 8 * 1024, 8, "f16", "-b", 2048, "-ub", 512),
        ]
        tokens = TextTokens(players[0], self.text)
        for server in players:
            with server:
                alone = tokens.prompt(prompt)
                parts = [completion(alone[: prompt - 512], 1), completion(alone, 1)]
                last = ask_in_turn(server.port, parts)[-1]
                seen, read = asyncio.run(gaps_beside(server, tokens, prompt))
                self.add(
                    "gaps", server=server.name, cache=server.cache, gap_p99=round(percentile(seen, 0.99), 4), gap_most=round(max(seen), 4),
                    gap_median=round(statistics.median(seen), 4), read_seconds=round(read, 3), pass_seconds=round(last.first, 4),
                    pass_tokens=last.computed,
                )  # fmt: skip

    def reproducible(self) -> None:
        """Part A's eight clients, with and without."""
        prompt, out, rounds = (128, 16, 1) if self.quick else (512, 128, 4)
        with self.ours("-c", 1024) as plain, self.ours("-c", 1024, "--reproducible") as same:
            tokens = TextTokens(plain, self.text)
            for number in range(rounds):
                tokens.skip(1000 * number)
                for server, case in ((plain, "default"), (same, "--reproducible")):
                    found = timed(server, [completion(each, out) for each in tokens.prompts(8, prompt)], out)
                    self.add("reproducible", server="qjl", clients=8, case=case, round=number, **found)

    def chunk(self) -> None:
        """KL divergence of k3v2 from f16 at 1024 positions behind a prompt of 2560, read in chunks through the cache; and with the prompt in
        one pass, as `qjl eval` reads it."""
        begin, end = self.size(2560), self.size(3584)
        with self.ours("-c", 12288, "--chunk", max(CHUNKS)) as server:
            for name, text in self.texts.items():
                for chunk in CHUNKS:
                    damage = server.post("/cache/damage", {"text": text[: self.size(17000)], "chunk": chunk})
                    kl = [token["kl"] for token in damage["tokens"][begin:end]]
                    if len(kl) < end - begin:
                        raise RuntimeError(f"{name} has {damage['num_tokens']} tokens, wanted {end}")
                    self.add("chunk", server="qjl", cache="k3v2", case=name, chunk=chunk, kl=statistics.mean(kl))
        for name, text in self.texts.items():
            words = [
                self.programs.ours,
                "eval",
                "-m",
                self.model,
                "-f",
                "-",
                "-c",
                str(end),
                "--prompt",
                str(begin),
                "--cache",
                "k3v2",
            ]
            words += ["--arithmetic", "fast", "--json", "-t", str(self.programs.threads), "--log-level", "off"]
            done = subprocess.run(words, input=text, check=True, capture_output=True, text=True)
            kl = json.loads(done.stdout)["results"][0]["kld_mean"]
            self.add("chunk", server="qjl", cache="k3v2", case=name, chunk=0, kl=kl)

    def restart(self) -> None:
        """A prefix of about 4k tokens on disk: its bytes, and the first token of a request after a restart, loading excluded."""
        text = self.text[: self.size(16000)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with self.ours("-c", 6144, "--prefix-dir", folder) as server:
                start = time.monotonic()
                saved = server.post("/cache/prefixes", {"name": "long", "prompt": text})
                cold = time.monotonic() - start
            with self.ours("-c", 6144, "--prefix-dir", folder) as server:
                (warm,) = ask_at_once(server.port, [completion(text + " And then", 8)])
            self.add(
                "restart", server="qjl", cache="k3v2", tokens=saved["tokens"], bytes=sum(f.stat().st_size for f in folder.iterdir()),
                cold=round(cold, 3), first=round(warm.first, 4), computed=warm.computed,
            )  # fmt: skip
        for cache in PEER_CACHES:
            self.restart_peer(cache, text)

    def restart_peer(self, cache: str, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            words = ("--slot-save-path", folder + "/")
            with start_peer(self.programs, self.model, 6144, 1, cache, *words) as server:
                (cold,) = ask_at_once(server.port, [completion(text, 1, id_slot=0)])
                saved = server.post("/slots/0?action=save", {"filename": "long.bin"})
            with start_peer(self.programs, self.model, 6144, 1, cache, *words) as server:
                start = time.monotonic()
                server.post("/slots/0?action=restore", {"filename": "long.bin"})
                restored = time.monotonic() - start
                (warm,) = ask_at_once(server.port, [completion(text + " And then", 8, id_slot=0)])
            self.add(
                "restart", server="llama.cpp", cache=cache, tokens=saved["n_saved"], bytes=saved["n_written"],
                cold=round(cold.first, 3), first=round(restored + warm.first, 4), computed=warm.computed,
            )  # fmt: skip


def rate_of_all(answers: list[Answer]) -> float:
    """Tokens a second between the last first token and the first end."""
    start = max(answer.sent + answer.first for answer in answers)
    end = min(answer.sent + answer.times[-1] for answer in answers)
    made = sum(1 for answer in answers for at in answer.times if start < answer.sent + at <= end)
    return made / (end - start)


async def most_held(server: Server, bodies: list[dict], prompt: int) -> int:
    """The most sequences that had their whole prompt in the cache at one time; all hang up then."""
    tasks = [asyncio.create_task(ask(server.port, body)) for body in bodies]
    most = 0
    while not any(task.done() for task in tasks):
        state = await asyncio.to_thread(server.get, "/cache")
        held = [each for each in state["sequences"] if each["held_tokens"] >= prompt and each["state"] == "running"]
        most = max(most, len(held))
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            answer = await task
            if answer.error:
                raise RuntimeError(answer.error)
    return most


async def gaps_beside(server: Server, tokens: TextTokens, prompt: int) -> tuple[list[float], float]:
    """Gaps of the streams that overlap the reading of the prompt, and its seconds."""
    answers = [Answer() for _ in range(7)]
    streams = [asyncio.create_task(ask(server.port, completion(tokens.prompt(64), 900), answer)) for answer in answers]
    while any(len(answer.times) < 8 for answer in answers):
        await asyncio.sleep(0.01)
    long = await ask(server.port, completion(tokens.prompt(prompt), 1))
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    begin, end = long.sent, long.sent + long.first
    gaps = []
    for answer in answers:
        at = [answer.sent + each for each in answer.times]
        gaps += [b - a for a, b in pairwise(at) if a < end and b > begin]
        if at[-1] < end:
            gaps.append(end - at[-1])
    return gaps, long.first
