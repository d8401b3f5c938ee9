"""--memory: one number for weights, passes and cache. What the process holds is asked of the system."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOUTH = ROOT / "examples/texts/south.txt"


# A process starts with the most that its parent held, and pytest may hold much: a small one stands between.
MEASURED = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(program: Path, *words: object) -> tuple[subprocess.CompletedProcess, int]:
    """With the most that the process held: the bytes of its pages, those of mapped files too."""
    command = [sys.executable, "-I", "-c", MEASURED, *map(str, [program, *words])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, 1024 * int(done.stderr.split()[-1])


def first_bytes(count: int, tmp_path: Path) -> Path:
    text = tmp_path / "text.txt"
    text.write_text(SOUTH.read_text()[:count])
    return text


def budget(program: Path, model: Path, memory: str) -> dict:
    done, _ = run(program, "info", "-m", model, "--memory", memory, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_memory_gives_the_context_and_holds(program: Path, model: Path, tmp_path: Path) -> None:
    told = budget(program, model, "1G")["memory"]
    assert (
        told["weights_mb"] + told["program_mb"] + told["scratch_mb"] + told["cache_mb"] == pytest.approx(told["total_mb"]) == 1000
    )
    # Room for some 3000 tokens of k3v2, 3.9 kB a token and head of this model, of which a prompt fills all but the last.
    memory = round(told["total_mb"] - told["cache_mb"] + 18)
    contexts = {row["cache"]: row["context_within_memory"] for row in budget(program, model, f"{memory}M")["caches"]}
    assert 128 < contexts["f16"] < contexts["k3v2"] / 4 < contexts["k2v2"] / 4 < 8192 / 4
    text = first_bytes(4 * contexts["k3v2"], tmp_path)
    words = ["run", "-m", model, "-f", text, "--memory", f"{memory}M", "--temp", 0, "--json"]
    done, held = run(program, *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["finish"] in ("context", "stop")
    assert result["peak_scratch_bytes"] <= 1e6 * told["scratch_mb"] <= 3 * result["peak_scratch_bytes"]
    print(held / 1e6, memory, result["prompt_tokens"], contexts)
    assert held <= 1e6 * memory


@pytest.mark.parametrize(
    ("memory", "part"),
    [
        ("90M", "--memory: found 90 MB, wanted at least"),
        ("8k", "--memory: found 8k, wanted bytes as 6G"),
        ("-1G", "--memory: found -1G"),
        ("1e30G", "--memory: found 1e30G"),
        ("nan", "--memory: found nan"),
    ],
)
def test_too_small_or_no_number(program: Path, model: Path, memory: str, part: str) -> None:
    for verb in (["run", "-p", "a"], ["info"], ["serve", "--port", 0]):
        done, _ = run(program, *verb, "-m", model, f"--memory={memory}")
        assert done.returncode == 2
        assert part in done.stderr


def test_it_stands_alone(program: Path, model: Path) -> None:
    for words in (["run", "-p", "a", "-c", 512], ["info", "-c", 512], ["serve", "--port", 0, "--cache-mb", 10]):
        done, _ = run(program, *words, "-m", model, "--memory", "1G")
        assert done.returncode == 2
        assert "--memory" in done.stderr
