"""Saved caches of the program: any safetensors reader opens them, `--load-cache` goes on where they end as if nothing had been
between, two processes share a file's pages, and what cannot be right is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Program
from safetensors import safe_open
from safetensors.numpy import save_file

PAGE, HEAD_BYTES, STREAM = 128, 16, 4096
LAYERS, KV_HEADS, HEAD_DIM = 30, 3, 64  # of SmolLM2-135M


def run_json(qjl: Program, model: Path, *words: object) -> dict:
    result = qjl("run", "-m", model, "--json", *words)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory, long_text: Path) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(long_text.read_text()[:2500])
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, qjl: Program, model: Path, text_file: Path) -> tuple[Path, dict]:
    path = tmp_path_factory.mktemp("saved") / "text.qjlkv.safetensors"
    return path, run_json(qjl, model, "-f", text_file, "-n", 12, "--save-cache", path)


def test_any_reader_opens_it(saved: tuple[Path, dict]) -> None:
    path, answer = saved
    with safe_open(path, "numpy") as file:
        words = file.metadata()
        assert words["format"] == "qjl-kv"
        assert words["format_version"] == "1"
        assert words["cache"] == "k3v2"
        assert words["rope_pairs"] == "interleaved"  # llama's rows are permuted in GGUF
        assert words["layer_types"] == ",".join(["full_attention"] * LAYERS)
        frequencies = [float(text) for text in words["rope_frequencies"].split(",")]
        assert frequencies == pytest.approx([1e5 ** (-i / 32) for i in range(32)], rel=1e-12)
        tokens, ids = int(words["num_tokens"]), int(words["num_token_ids"])
        assert ids == tokens + 1 == answer["prompt_tokens"] + answer["tokens"]
        pages = tokens // PAGE
        assert pages >= 3
        assert file.get_tensor("page_table.0").tolist() == list(range(pages))
        assert file.get_tensor("tail.0").shape == (LAYERS, 2, KV_HEADS, tokens % PAGE, HEAD_DIM)
        assert file.get_tensor("sinks.0").shape == (LAYERS, 2, KV_HEADS, 4, HEAD_DIM)
        heads = file.get_tensor("page_heads.7")
        assert heads.shape == (KV_HEADS, pages, HEAD_BYTES)
        assert (heads[:, :, 0] == int(words["page_format"])).all()
        assert file.get_tensor("pages.7").shape[1] % STREAM == 0
        assert file.get_tensor("token_ids.0").shape == (ids,)


def test_an_empty_prompt_goes_on_where_the_file_ends(
    qjl: Program, model: Path, text_file: Path, saved: tuple[Path, dict], tmp_path: Path
) -> None:
    path, first = saved
    whole = run_json(qjl, model, "-f", text_file, "-n", 40)
    later = tmp_path / "later.qjlkv.safetensors"
    second = run_json(qjl, model, "--load-cache", path, "-n", 10, "--save-cache", later)
    third = run_json(qjl, model, "--load-cache", later, "-n", 18)
    assert second["prompt_tokens"] == third["prompt_tokens"] == 1
    assert second["cached_tokens"] == first["prompt_tokens"] + 11
    assert first["text"] + second["text"] + third["text"] == whole["text"]
    assert third["cache_mb"] == pytest.approx(whole["cache_mb"], rel=0.01)


def test_a_prompt_comes_after_the_saved_text(qjl: Program, model: Path, saved: tuple[Path, dict]) -> None:
    path, first = saved
    answer = run_json(qjl, model, "--load-cache", path, "-p", " The capital of France is", "-n", 5)
    assert answer["cached_tokens"] == first["prompt_tokens"] + 11
    assert answer["prompt_tokens"] == 1 + 5  # the last token made, then a token a word: no bos, no text twice


def permuted(path: Path, to: Path) -> None:
    """The same file as a writer whose channels stand in halves makes it: exact cache, so rows are plain numbers."""
    with safe_open(path, "numpy") as file:
        words = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    assert words["cache"] == "f16"
    order = np.r_[0:HEAD_DIM:2, 1:HEAD_DIM:2]
    for name in ("tail.0", "sinks.0"):
        tensors[name][:, 0] = tensors[name][:, 0][..., order]
    pages, row = int(words["num_pages"]), 2 * HEAD_DIM
    for layer in range(LAYERS):
        bodies = tensors[f"pages.{layer}"]
        body_bytes = 2 * PAGE * row
        keys = bodies[:, : pages * body_bytes].reshape(KV_HEADS, pages, 2, PAGE, row)[:, :, 0]
        numbers = np.ascontiguousarray(keys).view(np.float16)
        keys[...] = np.ascontiguousarray(numbers[..., order]).view(np.uint8)
    save_file(tensors, to, {**words, "rope_pairs": "halves"})


def test_a_file_of_the_other_kind_of_pairs_goes_on_the_same(qjl: Program, model: Path, text_file: Path, tmp_path: Path) -> None:
    ours, other = tmp_path / "ours.safetensors", tmp_path / "other.safetensors"
    run_json(qjl, model, "-f", text_file, "-n", 4, "--cache", "f16", "--save-cache", ours)
    permuted(ours, other)
    texts = [run_json(qjl, model, "--load-cache", path, "-n", 40)["text"] for path in (ours, other)]
    assert texts[0] == texts[1]
    again = tmp_path / "again.safetensors"
    run_json(qjl, model, "--load-cache", other, "-n", 4, "--save-cache", again)
    with safe_open(again, "numpy") as file:
        assert file.metadata()["rope_pairs"] == "halves"  # a cache keeps its order


def test_a_chat_goes_on(qjl: Program, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.qjlkv.safetensors"
    words = ("chat", "-m", model, "-n", 16, "--json")
    both = json.loads(qjl(*words, stdin="My name is Ada.\nWhat is my name?\n").stdout)
    one = qjl(*words, "--save-cache", path, stdin="My name is Ada.\n")
    assert one.returncode == 0, one.stderr
    two = json.loads(qjl(*words, "--load-cache", path, stdin="What is my name?\n").stdout)
    assert two["turns"][0]["text"] == both["turns"][1]["text"]
    assert two["turns"][0]["cached_tokens"] == both["turns"][1]["cached_tokens"]
    assert qjl(*words, "--load-cache", path, "--system", "Be brief.", stdin="x\n").returncode == 2


def shared_and_own_kilobytes(pid: int, name: str) -> tuple[int, int]:
    """Of the memory of a process that is a map of this file: resident, and copied by the process itself."""
    resident = own = 0
    is_it = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            is_it = line.endswith(name)
        elif is_it and first == "Rss:":
            resident += int(line.split()[1])
        elif is_it and first == "Anonymous:":
            own += int(line.split()[1])
    return resident, own


def test_processes_share_the_pages_of_a_file(program: Path, model: Path, saved: tuple[Path, dict]) -> None:
    path = saved[0]
    command = [program, "chat", "-m", model, "-n", "3", "--chat-template", "raw", "--load-cache", path]
    pair = [subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in pair:
            assert process.stdin and process.stdout
            process.stdin.write("And then\n")
            process.stdin.flush()
            assert process.stdout.readline()  # it has attended to every page
        with safe_open(path, "numpy") as file:
            words = file.metadata()
            bodies = sum(file.get_tensor(f"pages.{layer}").nbytes for layer in range(LAYERS))
        assert int(words["num_pages"]) > 0
        for process in pair:
            resident, own = shared_and_own_kilobytes(process.pid, path.name)
            assert resident * 1024 >= bodies
            assert own == 0
    finally:
        for process in pair:
            process.kill()
            process.communicate()


def test_what_cannot_be_right_is_told(qjl: Program, model: Path, saved: tuple[Path, dict], tmp_path: Path) -> None:
    path = saved[0]

    def refused(code: int, text: str, *words: object) -> None:
        result = qjl("run", "-m", model, *words)
        assert result.returncode == code, result.stderr
        assert text in result.stderr

    refused(2, "wanted k4v4", "--load-cache", path, "--cache", "k4v4")
    refused(1, "tokens, wanted at most 127", "--load-cache", path, "-c", 128)
    refused(1, "no.safetensors", "--load-cache", tmp_path / "no.safetensors")
    refused(1, "cannot write in folder", "-p", "x", "--save-cache", tmp_path / "no folder" / "x")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-1])
    refused(1, "bytes of tensors, wanted", "--load-cache", cut)
    with safe_open(path, "numpy") as file:
        words, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    other = tmp_path / "other.safetensors"
    frequencies = ",".join(str(2e4 ** (-i / 32)) for i in range(32))
    save_file(tensors, other, {**words, "rope_frequencies": frequencies})
    refused(1, "turns 32 pairs of channels", "--load-cache", other)
    save_file(tensors | {"exact.3.keys": np.zeros(3, np.float16)}, other, words)
    refused(1, "keeps 1 tensors of layers apart", "--load-cache", other)
    bare = {name: tensor for name, tensor in tensors.items() if name != "token_ids.0"} | {"token_ids.0": np.zeros(0, np.int64)}
    save_file(bare, other, {**words, "num_token_ids": "0"})
    refused(1, "no token ids", "--load-cache", other)
