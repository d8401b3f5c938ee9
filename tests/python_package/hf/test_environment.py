"""What the other tests of this folder need, and what a plain import of the package must not need."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_needed_packages(missing_packages):
    if missing_packages:
        pytest.skip(f"tests of qjl.hf are left out, they need {', '.join(missing_packages)}: pip install qjl[hf]")


def test_the_package_alone_imports_no_torch():
    code = "import sys, qjl; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
