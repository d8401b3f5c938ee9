"""What the Python tests share: where the built programs, the default model and a long text are.

pytest tests/python --build-dir build/release
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Program(Protocol):
    """qjl(*words): runs the program to its end; nothing is checked."""

    def __call__(
        self, *words: object, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--templates", default=None, help="a folder of *.jinja, chat templates to compare with jinja2 besides our own")
    parser.addoption("--build-dir", default="build/release", help="build folder, relative to the repository or absolute")


@pytest.fixture(scope="session")
def build_dir(request: pytest.FixtureRequest) -> Path:
    return ROOT / request.config.getoption("--build-dir")


@pytest.fixture(scope="session")
def program(build_dir: Path) -> Path:
    path = build_dir / "qjl"
    if not path.exists():
        pytest.fail(f"{path} is not built; `./dev build` builds it")
    return path


@pytest.fixture(scope="session")
def qjl(program: Path) -> Program:
    def run(*words: object, stdin: str | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, words)]
        return subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def run_probe(build_dir: Path) -> Callable[..., bytes]:
    """run_probe(name, *words): the standard output of a test program, which must succeed."""

    def run(name: str, *words: object) -> bytes:
        path = build_dir / name
        if not path.exists():
            pytest.fail(f"{path} is not built; build it or name another folder with --build-dir")
        done = subprocess.run([path, *map(str, words)], capture_output=True, check=False)
        assert done.returncode == 0, f"{name} exited with {done.returncode}: {done.stderr.decode()}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def model() -> Path:
    path = ROOT / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.exists():
        pytest.skip(f"{path} is absent; `./dev model` gets it")
    return path


@pytest.fixture(scope="session")
def long_text() -> Path:
    """The longest of the texts that the repository ships."""
    return max((ROOT / "examples/texts").glob("*.txt"), key=lambda path: path.stat().st_size)
