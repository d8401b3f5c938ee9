"""A chat in a terminal: Ctrl-C ends the answer and then the chat, and all lines of a paste are one message."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_models import write_tiny_model

pytestmark = pytest.mark.alone

MARK = b"> "
SECONDS = 20  # that a read waits at most, on a machine with other work


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("terminal") / "tiny.gguf")


class Chat:
    """A chat whose standard input is a terminal; stderr, where the mark in front of a message goes, is another."""

    def __init__(self, words: list[str]) -> None:
        self.keyboard, terminal = pty.openpty()
        self.screen, errors = pty.openpty()
        self.process = subprocess.Popen(words, bufsize=0, stdin=terminal, stdout=subprocess.PIPE, stderr=errors)
        os.close(terminal)
        os.close(errors)

    def read(self, file: int, what: str) -> bytes:
        ready, _, _ = select.select([file], [], [], SECONDS)
        assert ready, f"nothing to read in {SECONDS} s, wanted {what}"
        return os.read(file, 1 << 16)

    def wait_for_answer(self) -> None:
        assert self.process.stdout
        assert self.read(self.process.stdout.fileno(), "an answer")

    def wait_for_mark(self) -> None:
        """Takes what was answered, too: an answer that is read later is a later one."""
        seen = b""
        while not seen.endswith(MARK):
            seen += self.read(self.screen, "the mark in front of a message")
        assert self.process.stdout
        while select.select([self.process.stdout], [], [], 0)[0] and os.read(self.process.stdout.fileno(), 1 << 16):
            pass

    def say(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@contextmanager
def chat(program: Path, model: Path, *words: object) -> Iterator[Chat]:
    one = Chat([str(program), "chat", "-m", str(model), "--chat-template", "chatml", *map(str, words)])
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_ctrl_c_ends_the_answer_and_then_the_chat(program: Path, tiny: Path) -> None:
    with chat(program, tiny, "-n", -1, "-c", 100000) as one:
        one.wait_for_mark()
        for _ in range(2):  # two answers without an end, each stopped
            one.say("hello\n")
            one.wait_for_answer()
            time.sleep(0.3)
            one.interrupt()
            one.wait_for_mark()
        one.interrupt()
        assert one.process.wait(SECONDS) == 130


def test_all_lines_of_a_paste_are_one_message(program: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with chat(program, tiny, "-n", 2, "-o", out, "--json") as one:
        one.wait_for_mark()
        one.say("first line\nsecond line\nthird line\n")
        one.wait_for_mark()
        one.say("\x04")
        assert one.process.wait(SECONDS) == 0
    assert out.read_text().count('"prompt_tokens"') == 1
