"""What a build with CUDA holds, read from its files: code for every architecture, and no library that a machine without a driver lacks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.alone

OBJECTS = sorted((ROOT / "build/cuda/src/cuda/CMakeFiles/qjl_cuda.dir").rglob("*.cu.o"))
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
HOST_ONLY = ("devices.cu.o", "cuda_backend.cu.o")


def read(tool: str, *words: object) -> str:
    path = shutil.which(tool, path=f"{ROOT}/.cache/cuda/toolkit/bin{os.pathsep}{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"no {tool} here")
    return subprocess.run([path, *map(str, words)], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not OBJECTS, reason="no build of preset cuda: ./dev test makes one")
def test_every_kernel_has_code_for_every_gpu() -> None:
    """Machine code for six architectures; PTX that every later one from sm_100 on can compile."""
    kernels = [file for file in OBJECTS if file.name not in HOST_ONLY]
    for file in kernels:
        machine = re.findall(r"\.(sm_\d+)\.cubin", read("cuobjdump", "--list-elf", file))
        assert machine == ARCHITECTURES, file.name
        assert re.findall(r"^\.target (sm_\d+)", read("cuobjdump", "-ptx", file), re.MULTILINE) == ["sm_100"], file.name


def test_the_library_needs_no_driver(build_dir: Path) -> None:
    library = build_dir / "src/capi/libqjl_c.so"
    if not library.exists():
        pytest.fail(f"{library} is not built; `./dev build` builds it")
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", read("readelf", "--dynamic", library))
    assert needed
    assert not [name for name in needed if re.search("cuda|nv", name)], needed
