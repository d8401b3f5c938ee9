"""Starts `qjl serve` on a free port with the default model.

pytest tests/server --build-dir build/release
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "The capital of France is"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--build-dir", default="build/release", help="build folder, relative to the repository or absolute")


class Server:
    """A running server: its address, its process, and the shortest ways to ask it."""

    def __init__(self, words: list[str]) -> None:
        self.log = subprocess.PIPE
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://"), f"found {line!r} and exit code {self.process.poll()}"
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def get(self, path: str, **more: object) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **more)

    def post(self, path: str, body: dict, **more: object) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=120, **more)

    def complete(self, **body: object) -> dict:
        """A greedy completion that must succeed."""
        answer = self.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 12, "temperature": 0, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Path:
    path = ROOT / request.config.getoption("--build-dir") / "qjl"
    if not path.exists():
        pytest.fail(f"{path} is not built; `./dev build` builds it")
    return path


@pytest.fixture(scope="session")
def model() -> Path:
    path = ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.exists():
        pytest.skip(f"{path} is absent; `./dev model` gets it")
    return path


@pytest.fixture(scope="session")
def serve(program: Path, model: Path) -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """serve(*words): a server of its own for a while; of the default model unless -m is among the words."""

    @contextlib.contextmanager
    def start(*words: object) -> Iterator[Server]:
        context = () if "-c" in words else ("-c", "4096")
        which = () if "-m" in words else ("-m", str(model))
        server = Server([str(program), "serve", *which, "--port", "0", *context, *map(str, words)])
        try:
            yield server
        finally:
            server.stop()

    return start


@pytest.fixture(scope="session")
def server(serve: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("prefixes")
    words = ["--cache", "f16,k3v2,k2v2", "--cache-mb", 600, "--alias", "smol", "--prefix-dir", folder, "--max-queue", 256]
    with serve(*words) as started:
        yield started


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=120)
