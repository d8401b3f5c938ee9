"""The program's manners: help, version, exit codes, and one clear line for what goes wrong. Needs no model that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Program

VERBS = ("run", "chat", "eval", "plan", "info")


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.stdout == ""
    assert re.fullmatch(r"qjl: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


def test_version_tells_compiler_and_target(qjl: Program) -> None:
    result = qjl("--version")
    assert result.returncode == 0
    assert re.fullmatch(
        r"qjl \d+\.\d+\.\d+ \((gcc|clang) [^,]+, (scalar|avx2|avx512|avx512vbmi|neon|neon_dotprod)\)\n"
        r"oneDNN \d+\.\d+\.\d+, PCRE2 \d+\.\d+, utf8proc \d+\.\d+\.\d+, xgrammar \d+\.\d+\.\d+\n",
        result.stdout,
    )


def test_version_follows_the_forced_target(qjl: Program) -> None:
    assert "scalar" in qjl("--version", env={**os.environ, "QJL_CPU_TARGET": "scalar"}).stdout
    refused = qjl("--version", env={**os.environ, "QJL_CPU_TARGET": "abacus"})
    assert refused.returncode == 1
    assert "abacus" in one_line(refused)


def test_help_lists_every_verb(qjl: Program) -> None:
    result = qjl("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_grouped(qjl: Program, verb: str) -> None:
    result = qjl(verb, "--help")
    assert result.returncode == 0
    assert {"Model:", "Output:"} <= set(result.stdout.splitlines()), result.stdout
    for word in re.findall(r"--([\w-]+)", result.stdout):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", word)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("run", "--no-such-option"),
        ("run",),
        ("run", "-m", "m.gguf"),
        ("run", "-m", "m.gguf", "-p", "a", "--threads", "0"),
        ("run", "-m", "m.gguf", "-p", "a", "--top-p", "1.5"),
        ("run", "-m", "m.gguf", "-p", "a", "--temp", "warm"),
        ("run", "-m", "m.gguf", "-p", "a", "--log-level", "loud"),
        ("run", "-m", "m.gguf", "-p", "a", "--system", "s"),
        ("run", "-m", "m.gguf", "-p", "a", "--cache", "k9v9"),
        ("run", "-m", "m.gguf", "-p", "a", "-ctk", "k9"),
        ("run", "-m", "m.gguf", "-p", "a", "--cache", "k3v2", "-ctv", "v2"),
        ("run", "-m", "m.gguf", "-p", "a", "--device", "gpu"),
        ("chat", "-m", "m.gguf", "--device", "cuda:-1"),
        ("eval", "-m", "m.gguf"),
        ("eval", "-m", "m.gguf", "-f", "t.txt", "--cache", "k2v2,zip"),
        ("eval", "-m", "m.gguf", "-f", "t.txt", "--prompt", "-5"),
    ],
)
def test_wrong_usage_ends_with_2(qjl: Program, words: tuple[str, ...]) -> None:
    result = qjl(*words)
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize("words", [("--cache", "zip"), ("-ctk", "zip"), ("-ctv", "zip")])
def test_unknown_cache_type_lists_the_known(qjl: Program, words: tuple[str, str]) -> None:
    result = qjl("run", "-m", "m.gguf", "-p", "a", *words)
    assert result.returncode == 2
    line = one_line(result)
    assert "zip" in line
    assert "f16" in line


@pytest.mark.parametrize("verb", [("run", "-p", "a"), ("chat",), ("eval", "-f", __file__), ("info",)])
def test_missing_model(qjl: Program, tmp_path: Path, verb: tuple[str, ...]) -> None:
    missing = tmp_path / "no-such-model.gguf"
    result = qjl(*verb, "-m", missing)
    assert result.returncode == 1
    assert str(missing) in one_line(result)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"GGUF" + bytes(16), b"hello, this is no model at all" * 99, b"GGUF\x03" + b"\xff" * 999]
)
def test_file_that_is_no_model(qjl: Program, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    result = qjl("info", "-m", file)
    assert result.returncode == 1
    one_line(result)


def test_info_without_a_model_tells_of_the_program(qjl: Program) -> None:
    result = qjl("info")
    assert result.returncode == 0
    assert result.stdout.startswith("qjl ")
    assert result.stderr == ""


@pytest.mark.parametrize("verb", [("run", "-p", "a"), ("chat",)])
def test_device_that_is_absent_is_told_before_the_model_is_read(qjl: Program, verb: tuple[str, ...]) -> None:
    result = qjl(*verb, "-m", "no-such-model.gguf", "--device", "cuda:97")
    assert result.returncode == 1
    line = one_line(result)
    assert "--device cuda:97: found " in line
    absence = json.loads(qjl("info", "--json").stdout)["cuda_absence"]
    assert (absence or "wanted cuda:97") in line
    assert "no-such-model" not in line


def test_info_lists_devices_or_says_why_there_are_none(qjl: Program) -> None:
    info = json.loads(qjl("info", "--json").stdout)
    assert bool(info["cuda_devices"]) != bool(info["cuda_absence"])
    if info["cuda_absence"]:
        assert info["cuda_absence"] in qjl("info").stdout
        assert ", wanted " in info["cuda_absence"]


@pytest.mark.parametrize("target", ["missing-folder/out.json", "."])
def test_output_that_cannot_be_is_refused_first(qjl: Program, tmp_path: Path, target: str) -> None:
    result = qjl("info", "-o", tmp_path / target)
    assert result.returncode == 1
    one_line(result)
    assert list(tmp_path.iterdir()) == []


def test_output_file_is_whole_or_untouched(qjl: Program, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    assert qjl("info", "--json", "-o", file).returncode == 0
    first = file.read_text()
    assert first.endswith("}\n")
    assert qjl("info", "--json", "-o", file, "-m", tmp_path / "missing.gguf").returncode == 1
    assert file.read_text() == first
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_full_standard_output_is_a_failure(program: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([program, "info"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert "standard output" in result.stderr
