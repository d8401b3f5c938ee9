"""Ours and the peer, llama.cpp's llama-server, as processes on free ports with the same file, threads and context."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PEER_CACHES = ("f16", "q8_0", "q4_0")
START_SECONDS = 120


@dataclass(frozen=True)
class Programs:
    ours: Path
    peer: Path
    threads: int


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


class Server:
    """A process that answers on a port. `name` and `cache` say which, in rows."""

    def __init__(self, name: str, cache: str, words: Sequence[object], port: int) -> None:
        self.name, self.cache, self.port = name, cache, port
        self.log: list[str] = []
        self.process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{words[0]} ended with {self.process.returncode}: {' '.join(map(str, words))}")
            try:
                self.get("/health")
                return
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > end:
                    self.close()
                    raise RuntimeError(f"{words[0]} does not answer after {START_SECONDS} s") from None
                time.sleep(0.05)

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=600) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict) -> dict:
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def memory_kb(self, line: str) -> int:
        for text in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if text.startswith(line + ":"):
                return int(text.split()[1])
        raise RuntimeError(f"no {line} in /proc/{self.process.pid}/status")

    def peak_bytes(self) -> int:
        """Largest resident memory so far."""
        return 1024 * self.memory_kb("VmHWM")

    def resident_bytes(self) -> int:
        return 1024 * self.memory_kb("VmRSS")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def start_ours(programs: Programs, model: Path, *words: object, cache: str = "k3v2") -> Server:
    port = free_port()
    start = [programs.ours, "serve", "-m", model, "--port", port, "-t", programs.threads, "--cache", cache, "--log-level", "off"]
    return Server("qjl", cache, [*start, *words], port)


def start_peer(programs: Programs, model: Path, context: int, clients: int, cache: str, *words: object) -> Server:
    """`context` is of all clients together. --cache-ram 0: an idle slot keeps its text, which is faster here than a copy elsewhere."""
    port = free_port()
    start = [programs.peer, "-m", model, "--host", "127.0.0.1", "--port", port, "-t", programs.threads, "-tb", programs.threads]
    shape = ["-c", context, "-np", clients, "--kv-unified", "-fa", "on", "-b", 512, "-ub", 512, "--cache-ram", 0]
    types = ["-ctk", cache, "-ctv", cache, "--no-webui"]
    return Server("llama.cpp", cache, [*start, *shape, *types, *words], port)


def usable_threads() -> int:
    return min(2, len(os.sched_getaffinity(0)))
