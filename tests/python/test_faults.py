"""The program on a system that refuses memory, disk or threads: one line and 1, the old file or the new one, nothing beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tiny_models import write_tiny_model

VERBS = {
    "run": ("run", "-p", "hello", "-n", "3", "--json", "-o", "OUT"),
    "save": ("run", "-p", "hello", "-n", "3", "--save-cache", "OUT"),
    "eval": ("eval", "-f", "TEXT", "-c", "300", "--prompt", "100", "--cache", "k3v2", "-o", "OUT"),
}
# Memory is asked for thousands of times: calls a few apart at first, further apart later.
CALLS = {
    "malloc": sorted({round(1.35**i) + i for i in range(30)}),
    "mmap": range(1, 40),
    "write": range(1, 4),
    "fsync": range(1, 4),
    "rename": range(1, 3),
    "pthread_create": range(1, 4),
}


@pytest.fixture(scope="module")
def shim(build_dir: Path) -> Path:
    path = build_dir / "libqjl_faults_preload.so"
    if not path.exists():
        pytest.fail(f"{path} is not built; sanitized builds have none, any other does")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "text").write_text("abcdefgh" * 40)
    return {"TEXT": str(folder / "text"), "MODEL": str(write_tiny_model(folder / "model", context=1024))}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_the_system_refuses_is_told_and_nothing_is_lost(
    program: Path, shim: Path, files: dict[str, str], tmp_path: Path, verb: str, kind: str
) -> None:
    out = tmp_path / "out"
    known = {**files, "OUT": str(out)}
    words = [str(program), *(known.get(word, word) for word in VERBS[verb]), "-m", files["MODEL"], "-t", "3"]
    refused = 0
    for call in CALLS[kind]:
        out.write_text("before")
        env = {**os.environ, "LD_PRELOAD": str(shim), "QJL_FAULT": f"{kind}:{call}"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=60)
        what = f"{kind} {call}: {done}"
        assert done.returncode in (0, 1), what
        assert [path.name for path in tmp_path.iterdir()] == ["out"], what
        assert (out.read_text(errors="replace") == "before") == (done.returncode == 1), what
        if done.returncode == 1:
            refused += 1
            assert done.stderr.count("\n") == 1, what
    assert refused > 0, "no call of this kind failed"
