"""The program on the default model: what the verbs print, that a seed repeats, that a chat processes only what is new."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import Program

PROMPT = "The capital of France is"


def run_json(qjl: Program, model: Path, *words: object) -> dict:
    result = qjl("run", "-m", model, "--json", *words)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_run_streams_text_only(qjl: Program, model: Path) -> None:
    result = qjl("run", "-m", model, "-p", PROMPT, "-n", 8)
    assert result.returncode == 0
    assert "Paris" in result.stdout
    assert result.stderr == ""


def test_run_json(qjl: Program, model: Path) -> None:
    answer = run_json(qjl, model, "-p", PROMPT, "-n", 8)
    assert {
        "text",
        "finish",
        "prompt_tokens",
        "tokens",
        "decode_tokens_per_second",
        "peak_scratch_bytes",
        "cache",
        "bits",
        "cache_mb",
        "seed",
    } <= set(answer)
    assert answer["cache"] == "k3v2"
    assert answer["tokens"] == 8
    assert answer["finish"] == "length"


def test_llama_cpp_words_name_the_same_cache(qjl: Program, model: Path) -> None:
    split = run_json(qjl, model, "-p", PROMPT, "-n", 4, "-ctk", "k4", "-ctv=v3")
    joined = run_json(qjl, model, "-p", PROMPT, "-n", 4, "--cache", "k4v3")
    assert split["cache"] == joined["cache"] == "k4v3"
    assert split["text"] == joined["text"]


def test_a_seed_repeats(qjl: Program, model: Path) -> None:
    def text(seed: int) -> str:
        return run_json(qjl, model, "-p", "Once upon a time", "-n", 24, "--temp", 1.5, "--min-p", 0, "--seed", seed)["text"]

    assert text(7) == text(7)
    assert text(7) != text(8)


def test_question_after_file(qjl: Program, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("The password is heron.")
    alone = run_json(qjl, model, "-f", file, "-n", 1)
    asked = run_json(qjl, model, "-f", file, "-p", "What is the password?", "-n", 1)
    piped = qjl("run", "-m", model, "-f", "-", "-n", 1, "--json", stdin="The password is heron.")
    assert asked["prompt_tokens"] > alone["prompt_tokens"] > 0
    assert json.loads(piped.stdout)["prompt_tokens"] == alone["prompt_tokens"]


def test_chat_template_gives_an_answer_that_ends(qjl: Program, model: Path) -> None:
    answer = run_json(qjl, model, "-p", "What is the capital of France?", "-n", 64, "--chat-template", "auto")
    assert "Paris" in answer["text"]
    assert answer["finish"] == "stop"


def test_chunks_of_prompt_agree_with_one_pass_on_the_exact_cache(qjl: Program, model: Path) -> None:
    words = ("-p", PROMPT + " Paris. " * 90 + "So the capital is", "-n", 6, "--cache", "f16")
    assert run_json(qjl, model, *words)["text"] == run_json(qjl, model, *words, "--chunk", 100)["text"]


def test_too_long_prompt(qjl: Program, model: Path) -> None:
    result = qjl("run", "-m", model, "-p", "word " * 100, "-c", 64)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "63" in result.stderr


def test_truncated_model(qjl: Program, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    with model.open("rb") as whole:
        file.write_bytes(whole.read(5_000_000))
    result = qjl("run", "-m", file, "-p", "a")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1


def test_chat_over_a_pipe_processes_only_new_tokens(qjl: Program, model: Path) -> None:
    lines = "What is the capital of France?\n\nAnd of Italy?\n"
    result = qjl("chat", "-m", model, "-n", 40, "--json", stdin=lines)
    assert result.returncode == 0, result.stderr
    first, second = json.loads(result.stdout)["turns"]
    assert first["cached_tokens"] == 0
    # The second turn finds the first prompt and its answer; it processes its own words and the template around them.
    assert second["cached_tokens"] >= first["prompt_tokens"] + first["tokens"] - 2
    assert second["prompt_tokens"] < 25
    assert "Rome" in second["text"]


def test_chat_streams_one_answer_per_line(qjl: Program, model: Path) -> None:
    result = qjl("chat", "-m", model, "-n", 3, stdin="Hello\nHow are you?\n")
    assert result.returncode == 0
    assert result.stdout.strip()
    assert result.stderr == ""


EVAL_KEYS = {
    "cache",
    "bits",
    "bits_sealed",
    "kld_mean",
    "kld_se",
    "kld_median",
    "kld_p999",
    "same_top1",
    "ppl",
    "ppl_exact",
    "cache_mb",
    "positions",
}


@pytest.fixture(scope="module")
def evaluation(qjl: Program, model: Path, long_text: Path) -> dict:
    words = ("-c", 1024, "--prompt", 768, "--cache", "f16,k2v2,k4v4", "--decode", 2, "--json")
    result = qjl("eval", "-m", model, "-f", long_text, *words)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_eval_json(evaluation: dict) -> None:
    rows = evaluation["results"]
    assert [row["cache"] for row in rows] == ["f16", "k2v2", "k4v4"]
    for row in rows:
        assert set(row) >= EVAL_KEYS
        assert row["positions"] == 256
        assert row["decode_tokens_per_second"] > 0
    assert [round(row["bits_sealed"], 2) for row in rows[1:]] == [2.16, 4.16]


def test_eval_floor_and_order(evaluation: dict) -> None:
    exact, two, four = evaluation["results"]
    assert evaluation["floor_kld"] <= 1e-6
    assert exact["kld_mean"] <= 1e-6
    assert exact["kld_mean"] < four["kld_mean"] < two["kld_mean"]
    assert two["cache_mb"] < four["cache_mb"] < exact["cache_mb"]


def test_eval_table(qjl: Program, model: Path, long_text: Path) -> None:
    result = qjl("eval", "-m", model, "-f", long_text, "-c", 256, "--prompt", 128, "--cache", "k3v2")
    assert result.returncode == 0
    assert result.stdout.splitlines()[1].startswith("k3v2 ")
    assert "floor" in result.stdout


def test_eval_takes_settings_with_commas(qjl: Program, model: Path, long_text: Path) -> None:
    types = "f16,paper:outliers=0,rows=64"
    result = qjl("eval", "-m", model, "-f", long_text, "-c", 256, "--prompt", 128, "--cache", types, "--json")
    assert result.returncode == 0, result.stderr
    assert [row["cache"] for row in json.loads(result.stdout)["results"]] == ["f16", "paper:outliers=0,rows=64"]


def test_eval_of_a_short_text(qjl: Program, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("Only a few words.")
    result = qjl("eval", "-m", model, "-f", file, "-c", 256)
    assert result.returncode == 1
    assert "256" in result.stderr


def test_info_json(qjl: Program, model: Path) -> None:
    info = json.loads(qjl("info", "-m", model, "-c", 8192, "--json").stdout)
    assert info["model"]["layers"] == 30
    sizes = {row["cache"]: row for row in info["caches"]}
    # 64 full pages: 8192 tokens * 30 layers * 3 kv heads * 64 numbers * 2 (keys, values) * 2 bytes, and 4 sinks beside.
    assert sizes["f16"]["cache_mb"] == pytest.approx(188.7, rel=0.01)
    assert sizes["k2v2"]["bits_sealed"] == pytest.approx(2.16, abs=0.005)


def test_log_goes_to_stderr_without_colour(qjl: Program, model: Path) -> None:
    result = qjl("run", "-m", model, "-p", PROMPT, "-n", 2, env={**os.environ, "QJL_LOG_LEVEL": "info"})
    assert "tokens/s" in result.stderr
    assert "\033" not in result.stderr
    assert "tokens/s" not in result.stdout


def test_interrupt_ends_with_130_and_writes_nothing(program: Path, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    words = [program, "run", "-m", model, "-p", "Count: 1 2 3", "-o", file, "--log-level", "info"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        process.stderr.readline()  # the model is loaded, the work begins
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert list(tmp_path.iterdir()) == []
