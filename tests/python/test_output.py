"""Where results go: plain files whole and with their mode, links through, devices and FIFOs written and never replaced, places looked at
before the work, transcripts kept, two studies in one file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Program
from tiny_models import write_tiny_model

NOT_UTF8 = b"na\xffme"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("output") / "tiny.gguf", context=4096)


def write_result(qjl: Program, tiny: Path, out: Path | str) -> subprocess.CompletedProcess[str]:
    return qjl("run", "-m", tiny, "-p", "hello", "-n", 2, "--json", "-o", out)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_plain_file_keeps_its_mode(qjl: Program, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("before")
    out.chmod(0o640)
    assert write_result(qjl, tiny, out).returncode == 0
    assert json.loads(out.read_text())["tokens"] == 2
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert names(tmp_path) == ["out"]


def test_a_link_stays_one(qjl: Program, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    link = tmp_path / "link"
    link.symlink_to("there/target")
    for _ in range(2):  # a target that is absent, and one that is there
        assert write_result(qjl, tiny, link).returncode == 0
        assert link.is_symlink()
        assert json.loads(target.read_text())["tokens"] == 2
    assert names(tmp_path / "there") == ["target"]


def test_a_device_stays_one(qjl: Program, tiny: Path, tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.write_text("a")
    except OSError:
        device = Path("/dev/null")  # which only root could replace
    assert write_result(qjl, tiny, device).returncode == 0
    assert stat.S_ISCHR(device.lstat().st_mode)


def test_a_fifo_is_written(program: Path, tiny: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = [program, "run", "-m", tiny, "-p", "hello", "-n", "2", "--json", "-o", fifo]
    with subprocess.Popen(list(map(str, words))) as process:
        assert json.loads(fifo.read_text())["tokens"] == 2
    assert process.returncode == 0
    assert stat.S_ISFIFO(fifo.lstat().st_mode)


def test_standard_output_by_its_name_is_appended_to(program: Path, tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as out:
        words = [program, "run", "-m", tiny, "-p", "hello", "-n", "2", "--json", "-o", "/dev/stdout"]
        assert subprocess.run(list(map(str, words)), stdout=out, check=False).returncode == 0
    first, _, rest = log.read_text().partition("\n")
    assert (first, json.loads(rest)["tokens"]) == ("before", 2)


@pytest.mark.parametrize("place", ["folder", "no/such/file", "n" * 300])
def test_a_place_that_takes_no_file_is_told_before_the_model_is_read(qjl: Program, tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    out = tmp_path / place
    text = tmp_path / "text"
    text.write_text("text")
    for words in (
        ("run", "-p", "a", "-o", out),
        ("chat", "-o", out),
        ("run", "-p", "a", "--save-cache", out),
        ("plan", "--budget", "2.7", "-f", text, "--plan", out),
        ("plan", "--budget", "2.7", "-f", text, "--costs", out),
        ("eval", "-f", text, "-o", out),
        ("study", "rate", "--texts", text, "-o", out),
    ):
        done = qjl(*words, "-m", tmp_path / "no-such-model.gguf")
        assert done.returncode == 1, (words, done)
        assert "no-such-model" not in done.stderr, words
    assert names(tmp_path) == ["folder", "text"]


def test_the_longest_name_is_written(qjl: Program, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / ("n" * 255)
    assert write_result(qjl, tiny, out).returncode == 0
    assert out.exists()


@pytest.mark.parametrize("json_words", [(), ("--json",)])
def test_a_transcript_is_kept_when_a_turn_fails(qjl: Program, tiny: Path, tmp_path: Path, json_words: tuple[str, ...]) -> None:
    out = tmp_path / "transcript"
    words = ("chat", "-m", tiny, "-c", 256, "-n", 5, "--chat-template", "chatml", *json_words)
    told = "hello\n" + "x" * 1000 + "\n"
    done = qjl(*words, "-o", out, stdin=told)
    assert done.returncode == 1
    assert "--ctx-size" in done.stderr
    kept = out.read_bytes()
    assert kept
    if json_words:
        assert len(json.loads(kept)["turns"]) == 1
        done = qjl(*words, stdin=told)
        assert (done.returncode, len(json.loads(done.stdout)["turns"])) == (1, 1)


def test_a_full_context_forgets_the_oldest_messages_and_says_so(qjl: Program, tiny: Path) -> None:
    lines = "".join(f"message number {i}\n" for i in range(8))
    done = qjl("chat", "-m", tiny, "-c", 256, "-n", 10, "--chat-template", "chatml", "--json", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["turns"]) == 8
    assert "oldest" in done.stderr
    assert "-c" in done.stderr


def test_an_answer_that_the_context_ends_says_so(qjl: Program, tiny: Path) -> None:
    done = qjl("run", "-m", tiny, "-p", "hello", "-c", 40)
    assert done.returncode == 0
    assert "context of 40 tokens is full" in done.stderr


def test_a_reader_that_is_gone_ends_the_run(program: Path, tiny: Path) -> None:
    words = [str(program), "run", "-m", str(tiny), "-p", "hello", "-c", "4000"]
    whole = time.monotonic()
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    whole = time.monotonic() - whole
    start = time.monotonic()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "standard output" in done.stderr
    assert time.monotonic() - start < whole / 2, whole


def test_names_that_are_no_utf8_reach_json(qjl: Program, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "odd.gguf", name="na!me")
    path.write_bytes(path.read_bytes().replace(b"na!me", NOT_UTF8, 1))
    text = tmp_path / "text"
    text.write_text("abcdefgh" * 100)
    done = qjl("info", "-m", path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"]["name"] == "na\ufffdme"
    done = qjl("inspect", "-m", path, "-f", text, "--json")
    assert done.returncode == 0, done.stderr
    texts = tmp_path / "texts"
    texts.write_text(json.dumps([{"name": "text", "file": "./text"}]))
    rows = tmp_path / "rows"
    for _ in range(2):  # the second finds the rows of the first
        words = ("study", "rate", "-m", path, "--texts", texts, "--contexts", 256, "--positions", 32, "--cache", "k3v2")
        done = qjl(*words, "-o", rows)
        assert done.returncode == 0, done.stderr
        assert len(rows.read_text().splitlines()) == 1


def test_two_studies_in_one_file_lose_no_row(program: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abcdefgh" * 200)
    texts = tmp_path / "texts"
    texts.write_text(json.dumps([{"name": "text", "file": "./text"}]))
    rows = tmp_path / "rows"
    contexts = range(256, 1536, 128)

    def start(caches: str) -> subprocess.Popen[bytes]:
        words = [program, "study", "rate", "-m", tiny, "--texts", texts, "-t", 1, "--positions", 32, "--cache", caches]
        words += ["--contexts", ",".join(map(str, contexts)), "-o", rows]
        return subprocess.Popen(list(map(str, words)))

    studies = [start("k3v2"), start("k2v2"), start("k4v4")]
    assert [study.wait(120) for study in studies] == [0, 0, 0]
    found = {(row["cache"], row["context"]) for row in map(json.loads, rows.read_text().splitlines())}
    assert found == {(cache, context) for cache in ("k3v2", "k2v2", "k4v4") for context in contexts}
    assert names(tmp_path) == ["rows", "text", "texts"]


def test_control_characters_of_a_file_never_reach_a_terminal(qjl: Program, tmp_path: Path) -> None:
    odd = "na\x1b[2Jme\nqjl: all is well"
    path = write_tiny_model(tmp_path / "odd.gguf", name=odd)
    described = qjl("info", "-m", path).stdout
    assert "\x1b" not in described
    assert "\nqjl: all" not in described
    logged = qjl("run", "-m", path, "-p", "a", "-n", 1, "--log-level", "info").stderr
    assert "x1b" in logged
    assert "\x1b" not in logged
    wrong = write_tiny_model(tmp_path / "wrong.gguf", architecture="ll\x1b[2Jama")
    refused = qjl("run", "-m", wrong, "-p", "a", "-n", 1)
    assert refused.returncode == 1
    assert "\x1b" not in refused.stderr
    assert refused.stderr.count("\n") == 1
