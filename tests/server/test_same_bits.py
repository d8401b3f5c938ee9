"""--reproducible: an answer and its scores have the same bits cold, warm, restored from disk and in company. And what kill -9 leaves
of a prefix that is being saved."""

from __future__ import annotations

import concurrent.futures
import itertools
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests
from conftest import ROOT, Server

TEXT = (ROOT / "examples/texts/south.txt").read_text()
CHUNK = ("--reproducible", "--chunk", 128)


def ask(server: Server, **body: object) -> list[dict]:
    return server.complete(logprobs=3, ignore_eos=True, **body)["choices"]


def test_restored_from_disk(serve: Callable, tmp_path: Path) -> None:
    words = [*CHUNK, "--prefix-dir", tmp_path]
    prompt = TEXT[:3000]
    with serve(*words) as server:
        cold = ask(server, prompt=prompt + " And then", max_tokens=24)
        warm = ask(server, prompt=prompt + " And then", max_tokens=24)
        assert warm == cold
        saved = server.post("/cache/prefixes", {"name": "south", "prompt": prompt})
        assert saved.status_code == 201, saved.text
        assert saved.json()["tokens"] >= 512
    with serve(*words) as server:
        restored = server.complete(prompt=prompt + " And then", max_tokens=24, logprobs=3, ignore_eos=True)
        assert restored["usage"]["prompt_tokens_details"]["cached_tokens"] == saved.json()["tokens"]
        assert restored["choices"] == cold


def mixed(number: int) -> dict:
    """Short and long, greedy and drawn, one choice and two."""
    text = TEXT[97 * number :][: (100, 600, 1100)[number % 3]]
    return {"prompt": text, "temperature": number % 2 * 0.8, "seed": number, "max_tokens": 8 + number, "n": 1 + number % 4 // 3}


def test_16_in_a_cache_too_small_for_them(serve: Callable) -> None:
    """They wait for each other's pages, and prefixes are given up; batch_test.cpp has answers that are parked on the way."""
    bodies = [mixed(number) for number in range(16)]
    with serve(*CHUNK) as server:
        alone = [ask(server, **body) for body in bodies]
    with serve(*CHUNK, "-c", 1024, "--cache-mb", 11, "--parallel", 16) as server:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda body: ask(server, **body), bodies))
        (cache,) = server.get("/cache").json()["caches"]
    assert together == alone
    assert cache["evicted_pages"] > 0


class Saver:
    """Saves two texts under one name, and now and then under a new one, until its server is killed."""

    def __init__(self, server: Server, acknowledged: dict[str, int]) -> None:
        self.server, self.acknowledged = server, acknowledged
        self.one_is_saved, self.killed = threading.Event(), threading.Event()
        self.faults: list[str] = []
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            for number in itertools.count():
                name = "same" if number % 3 else f"new{number}"
                saved = self.server.post("/cache/prefixes", {"name": name, "prompt": TEXT[: 700 + 700 * (number % 2)]})
                if saved.status_code != 201:
                    self.faults.append(saved.text)
                    return
                self.acknowledged[name] = saved.json()["tokens"]
                self.one_is_saved.set()
        except requests.RequestException as error:
            if not self.killed.is_set():
                self.faults.append(str(error))
        except Exception as error:  # of a thread: the test would not see it
            self.faults.append(repr(error))


def test_killed_while_saving(serve: Callable, tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    chance = random.Random(1)
    for _ in range(4):
        with serve("--prefix-dir", tmp_path) as server:
            listed = {prefix["name"]: prefix for prefix in server.get("/cache/prefixes").json()["prefixes"]}
            assert [prefix["fault"] for prefix in listed.values()] == [None] * len(listed)
            assert acknowledged.keys() <= listed.keys()
            assert {listed[name]["tokens"] for name in acknowledged} <= {128, 256}
            assert all(listed[name]["tokens"] == acknowledged[name] for name in acknowledged if name != "same")
            assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == listed.keys()  # no parts are left
            saver = Saver(server, acknowledged)
            saver.thread.start()
            is_saved = saver.one_is_saved.wait(120)
            time.sleep(chance.random() / 2)
            saver.killed.set()
            server.process.kill()
            saver.thread.join(60)
            assert not saver.thread.is_alive()
            assert saver.faults == []
            assert is_saved
