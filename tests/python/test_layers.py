"""What the libraries of the build link: the product knows nothing of the research."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PRODUCT = (
    "cli/libqjl_cli.a",
    *(f"engine/libqjl_{folder}.a" for folder in ("text", "math", "files", "models", "run")),
    "src/core/libqjl.a",
)
RESEARCH = ("study/libqjl_study.a", "cli/libqjl_cli_study.a")


def symbols(path: Path, *words: str) -> set[str]:
    if not path.exists():
        pytest.fail(f"{path} is not built; `./dev build` builds it")
    tool = shutil.which("nm") or pytest.skip("no nm here")
    text = subprocess.run([tool, *words, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in text.splitlines() if line.strip() and not line.endswith(":")}


@pytest.mark.parametrize("library", PRODUCT)
def test_run_and_chat_link_no_research(build_dir: Path, library: str) -> None:
    """No name that the product asks for is one that only the research has: rivals, studies, the search of plans."""
    research = set().union(*(symbols(build_dir / name, "--defined-only", "--extern-only") for name in RESEARCH))
    product = set().union(*(symbols(build_dir / name, "--defined-only", "--extern-only") for name in PRODUCT))
    wanted = symbols(build_dir / library, "--undefined-only")
    assert wanted & (research - product) == set()


def test_the_research_is_where_the_test_looks(build_dir: Path) -> None:
    """The names are read at all: the verbs of the research do ask for rivals."""
    rivals = {
        name for name in symbols(build_dir / RESEARCH[0], "--defined-only", "--extern-only") if "Rival" in name or "rival" in name
    }
    assert rivals
    assert symbols(build_dir / RESEARCH[1], "--undefined-only") & rivals
