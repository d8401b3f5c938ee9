"""How a server starts and ends, and who may come in."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from conftest import PROMPT, Server


def stream(server: Server, tokens: int, lines: list[str]) -> threading.Thread:
    """Reads a stream in a thread of its own; returns when its first event has come."""
    begun = threading.Event()

    def read() -> None:
        body = {"prompt": PROMPT, "max_tokens": tokens, "stream": True, "ignore_eos": True}
        with contextlib.suppress(requests.RequestException):  # the server may end before the answer does
            answer = requests.post(server.url + "/v1/completions", json=body, stream=True, timeout=120)
            for line in answer.iter_lines():
                lines.append(line.decode())
                begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    return thread


def test_sigterm_lets_answers_end(serve: Callable) -> None:
    with serve() as server:
        lines: list[str] = []
        thread = stream(server, 64, lines)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", server.port)) != 0
        thread.join(60)
        assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(60) == 0


def test_answers_that_do_not_end_are_cut(serve: Callable) -> None:
    with serve("--drain-timeout", 1) as server:
        lines: list[str] = []
        thread = stream(server, 4000, lines)
        server.process.send_signal(signal.SIGINT)
        thread.join(60)
        assert any(line.startswith('data: {"error"') for line in lines[-3:]), lines[-3:]
        assert server.process.wait(60) == 130


def test_a_second_signal_ends_at_once(serve: Callable) -> None:
    with serve() as server:
        thread = stream(server, 4000, [])
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 128 + signal.SIGTERM
        thread.join(60)


def test_keys_hosts_and_origins(serve: Callable, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("from-file\n\nother\n")
    with serve("--api-key", "secret", "--api-key-file", keys, "--cors-origin", "http://page.example") as server:
        for key, status in (("secret", 200), ("from-file", 200), ("other", 200), ("wrong", 401), ("", 401)):
            assert server.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == status
        assert server.get("/v1/models").json()["error"]["type"] == "authentication_error"
        assert server.get("/health").status_code == 200
        assert server.get("/").status_code == 200
        assert server.get("/health", headers={"Host": "evil.example"}).status_code == 403
        auth = {"Authorization": "Bearer secret", "Content-Type": "text/plain"}
        for origin, status in (("http://evil.example", 403), ("http://page.example", 200), (server.url, 200)):
            answer = server.post("/tokenize", {"content": "x"}, headers={**auth, "Origin": origin})
            assert answer.status_code == status, origin
            assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == "http://page.example")


def test_wrong_words_end_before_loading(program: Path, model: Path) -> None:
    for words in (["--chunk", "100"], ["--cache", "k9v9"], ["--host", "no.such.name"], ["--device", "cuda:0"], ["--port", "70000"]):
        done = subprocess.run([program, "serve", "-m", model, "--port", "0", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2), words
        assert "wanted" in done.stderr or "not in range" in done.stderr or "--port" in done.stderr, done.stderr


def test_a_port_beyond_loopback_without_a_key_is_warned_of(program: Path, model: Path) -> None:
    words = [program, "serve", "-m", model, "--port", "0", "--host", "0.0.0.0", "--log-level", "off"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("listening on http://0.0.0.0:")
        process.terminate()
        assert "WITHOUT A KEY" in process.communicate(timeout=60)[1]
        assert process.returncode == 0


def test_one_number_for_all_of_its_memory(program: Path, model: Path) -> None:
    """The cache has so little beside the rest that requests fill it, and the largest passes are made: scores of a prompt's rows, many
    requests at once. Then the system says what was held."""
    words = [str(program), "serve", "-m", str(model), "--port", "0", "--memory"]
    refused = subprocess.run([*words, "120M"], capture_output=True, text=True, check=False)
    least = re.search(r"wanted at least (\d+) MB: .* to compute with", refused.stderr)
    assert refused.returncode == 2 and least, refused.stderr
    memory = int(least[1]) + 15
    server = Server([*words, f"{memory}M"])
    try:
        text = " ".join(str(i) for i in range(600))
        server.complete(prompt=text, max_tokens=0, echo=True, logprobs=1)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: server.complete(prompt=f"{i} {text}", max_tokens=32), range(8)))
        assert all(answer["usage"]["completion_tokens"] > 0 for answer in answers)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        held = 1024 * int(status.split("VmHWM:")[1].split()[0])
        # The bound takes 520 rows of logits (102 MB) where a block of 256 (50 MB) is held at once.
        assert 1e6 * (memory - 75) < held <= 1e6 * memory
    finally:
        server.stop()
