"""The machine code of the attention kernels, as the build for all architectures (`./dev test`, preset cuda) left it."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
import sass
from conftest import ROOT

OBJECTS = ROOT / "build/cuda/src/cuda/CMakeFiles/qjl_cuda.dir"
PAIRS = ("signs_l4", "l8_l4", "l8_l8", "l16_l8", "l16_l16")  # codes of keys and values
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
NATIVE_BITS = ("sm_80", "sm_86", "sm_89", "sm_90")

# Warp instructions for 128 tokens at head_dim 128, softmax included, for up to 4 and up to 8 query heads. The design asks for 825 and
# 1109 (signs): what stands here is what is reached on sm_90, and a step up from it must be meant. docs/decisions.md says where the
# difference is.
BUDGET = {
    "signs_l4": (1290, 1770),
    "l8_l4": (1655, 2015),
    "l8_l8": (1940, 2300),
    "l16_l8": (2175, 2535),
    "l16_l16": (2450, 2810),
}
BODY_BYTES = {"signs_l4": 8576, "l8_l4": 10624, "l8_l8": 12672, "l16_l8": 14720, "l16_l16": 16768}
PREFETCH_BYTES = 128 * 32  # of a warp's round


@cache
def kernels(pair: str, architecture: str) -> dict[str, sass.Kernel]:
    """By "groups of 64 channels, tiles of 4 rows": "2,1" is head_dim 128 (and 80, 96) for up to four heads."""
    tool = shutil.which("cuobjdump", path=f"{ROOT}/.cache/cuda/toolkit/bin{os.pathsep}{os.environ['PATH']}")
    file = OBJECTS / f"attend_{pair}.cu.o"
    if tool is None or not file.exists():
        pytest.skip("no cuobjdump, or no build of preset cuda: ./dev test makes both")
    found = sass.disassemble(Path(tool), file, architecture)
    return {f"{name[1]},{name[2]}": kernel for full, kernel in found.items() if (name := sass.template_numbers(full))}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pair", PAIRS)
def test_no_kernel_touches_local_memory(pair: str, architecture: str) -> None:
    of_pair = kernels(pair, architecture)
    assert sorted(of_pair) == ["1,1", "1,2", "2,1", "2,2", "4,1"]
    for shape, kernel in of_pair.items():
        assert kernel.count(r"\b(STL|LDL)\b") == 0, shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_signs_are_products_of_bits_where_the_device_has_them(architecture: str) -> None:
    loop = sass.page_loop(kernels("signs_l4", architecture)["2,1"])
    if architecture in NATIVE_BITS:
        products = sass.runs_of(loop, r"BMMA\.168256\.AND\.POPC", sass.Trips(key_steps=1, prefetches=0))
        assert products == 32  # 8 times 16 keys, 8 bits of 4 queries as 4 products
    else:
        assert loop.count("BMMA") == 0 and loop.count(r"IMMA.*S8\.S8") >= 8  # bytes 0 and 1


@pytest.mark.parametrize("architecture", ("sm_80", "sm_90"))
@pytest.mark.parametrize("pair", PAIRS)
def test_codes_are_read_16_bytes_at_a_time(pair: str, architecture: str) -> None:
    """All codes of a page of 128 x 128 numbers: keys by loops of head_dim / 32 steps, values of two groups of channels."""
    kernel = kernels(pair, architecture)["2,1"]
    loop = sass.page_loop(kernel)
    bytes_a_page = 16 * 32 * sass.runs_of(loop, r"LDG\.E\.128", sass.Trips(key_steps=4, prefetches=0))
    code_bytes = BODY_BYTES[pair] - 3 * 128  # without mean and scales
    assert bytes_a_page == code_bytes
    assert loop.count(r"LDG\.E\.(U8|S8|U16|S16)\b") <= 8  # none but what plans a step


@pytest.mark.parametrize("pair", PAIRS)
def test_instructions_for_128_tokens(pair: str) -> None:
    prefetches = -(-BODY_BYTES[pair] // PREFETCH_BYTES)
    found = [sass.instructions_a_page(kernels(pair, "sm_90")[f"2,{tiles}"], sass.Trips(4, prefetches, tiles)) for tiles in (1, 2)]
    assert all(count <= budget for count, budget in zip(found, BUDGET[pair], strict=True)), found
    # The roofline of an H200: 4.1 bytes for each instruction that its schedulers can issue.
    assert BODY_BYTES[pair] / found[0] > 4.1


def test_the_reader_of_machine_code() -> None:
    """A loop of ten, inside it a loop of three that runs four times and an exception of two that is jumped over."""
    text = ["IMMA.16832 R0, R1, R2, R0", "MOV R3, R4", "IADD3 R5, R5", "@P0 BRA 0x10", "@!P1 BRA 0x70", "MUFU.EX2 R6, R6"]
    text += ["MUFU.EX2 R7, R7", "FADD R8, R8", "FADD R9, R9", "@P2 BRA 0x0"]
    kernel = sass.Kernel([16 * i for i in range(len(text))], text)
    assert kernel.loops() == [(1, 3), (0, 9)]
    assert sass.common_path(kernel) == 8
