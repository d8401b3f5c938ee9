"""What the other tests of this folder need, what a plain import of the package must not need, and the oldest Transformers that will do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLD = HERE.parents[2] / ".cache/transformers-5.19"
OLD_RUNS = [
    "test_generate.py::test_plain_padded_and_chunked_prompts[llama]",
    "test_generate.py::test_compressed_numbers_are_read",
    "test_saved_caches.py::test_what_is_left_exact_comes_back",
]
RUN_OLD = """
import sys, pytest, transformers
from qjl.hf.forward import cache_argument
assert transformers.__version__.startswith("5.19."), transformers.__version__
assert cache_argument(object.__new__(transformers.LlamaForCausalLM)) == "past_key_values"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_needed_packages(missing_packages):
    if missing_packages:
        pytest.skip(f"tests of qjl.hf are left out, they need {', '.join(missing_packages)}: pip install qjl[hf]")


def test_the_package_alone_imports_no_torch():
    code = "import sys, qjl; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_oldest_transformers(missing_packages):
    """Some of these tests once more where models take a cache as past_key_values, in a process that finds version 5.19 first."""
    if missing_packages or not (OLD / "transformers").exists():
        pytest.skip(f"no {OLD}: `./dev test` makes it from python/requirements-transformers-5.19.txt")
    command = [sys.executable, "-c", RUN_OLD, *(str(HERE / name) for name in OLD_RUNS)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(OLD)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(OLD_RUNS)} passed" in done.stdout
