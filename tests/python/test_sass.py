"""The machine code of the attention kernels, as the build for all architectures (`./dev test`, preset cuda) left it."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
import sass
from conftest import ROOT

pytestmark = pytest.mark.alone

OBJECTS = ROOT / "build/cuda/src/cuda/CMakeFiles/qjl_cuda.dir"
PAIRS = ("signs_l4", "l8_l4", "l8_l8", "l16_l8", "l16_l16")  # codes of keys and values
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
NATIVE_BITS = ("sm_80", "sm_86", "sm_89", "sm_90")

# Warp instructions for 128 tokens at head_dim 128 on sm_90, for up to 4 and up to 8 query heads: softmax, mean and a warp's share of
# what one does for all included. For signs the design asks for 825 and 1109 and allows 15 % more; the other pairs hold what is reached,
# a step up from it must be meant.
DESIGN = {"signs_l4": (825, 1109)}
BUDGET = {
    "signs_l4": tuple(1.15 * count for count in DESIGN["signs_l4"]),
    "l8_l4": (1410, 1725),
    "l8_l8": (1590, 1905),
    "l16_l8": (1845, 2155),
    "l16_l16": (2150, 2465),
}
BODY_BYTES = {"signs_l4": 8576, "l8_l4": 10624, "l8_l8": 12672, "l16_l8": 14720, "l16_l16": 16768}
SHAPES = ("64,1", "64,2", "96,1", "128,1", "128,2", "256,1")  # head_dim (96: 80 too), tiles of four rows


@cache
def kernels(pair: str, architecture: str) -> dict[str, sass.Kernel]:
    """By shape: "128,1" is head_dim 128 for up to four heads."""
    tool = shutil.which("cuobjdump", path=f"{ROOT}/.cache/cuda/toolkit/bin{os.pathsep}{os.environ['PATH']}")
    file = OBJECTS / f"fragments/attend_{pair}.cu.o"
    if tool is None or not file.exists():
        pytest.skip("no cuobjdump, or no build of preset cuda: ./dev test makes both")
    found = sass.disassemble(Path(tool), file, architecture)
    return {f"{name[1]},{name[2]}": kernel for full, kernel in found.items() if (name := sass.template_numbers(full))}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pair", PAIRS)
def test_no_kernel_touches_local_memory(pair: str, architecture: str) -> None:
    of_pair = kernels(pair, architecture)
    assert sorted(of_pair) == sorted(SHAPES)
    for shape, kernel in of_pair.items():
        assert kernel.count(r"\b(STL|LDL)\b") == 0, shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_signs_are_products_of_bits_where_the_device_has_them(architecture: str) -> None:
    loop = sass.page_loop(kernels("signs_l4", architecture)["128,1"])
    if architecture in NATIVE_BITS:
        assert loop.count(r"BMMA\.168256\.AND\.POPC") == 24  # 8 times 16 keys, 6 bits of 4 queries as 3 products
    else:
        assert loop.count("BMMA") == 0 and loop.count(r"IMMA.*S8\.S8") >= 8  # bytes 0 and 1


@pytest.mark.parametrize("architecture", ("sm_80", "sm_90"))
@pytest.mark.parametrize("pair", PAIRS)
def test_codes_are_read_16_bytes_at_a_time(pair: str, architecture: str) -> None:
    """All codes and the means of a page of 128 x 128 numbers, keys by loops of head_dim / 32 steps; scales by words of four."""
    loop = sass.page_loop(kernels(pair, architecture)["128,1"])
    bytes_a_page = 16 * 32 * sass.runs_of(loop, r"LDG\.E\.128", sass.Trips(key_steps=4))
    means = 8 * 128  # of a step, which every warp multiplies with its knots
    assert bytes_a_page == BODY_BYTES[pair] - 3 * 128 + means
    assert loop.count(r"LDG\.E\.(U8|S8|U16|S16)\b") == 0


@pytest.mark.parametrize("pair", PAIRS)
def test_instructions_for_128_tokens(pair: str) -> None:
    found = [sass.instructions_a_page(kernels(pair, "sm_90")[f"128,{tiles}"], sass.Trips(key_steps=4)) for tiles in (1, 2)]
    print(f"{pair}: {found[0]:.0f} instructions for 128 tokens (up to 4 heads), {found[1]:.0f} (up to 8)")
    assert all(count <= budget for count, budget in zip(found, BUDGET[pair], strict=True)), found
    # The roofline of an H200: 4.1 bytes for each instruction that its schedulers can issue.
    assert BODY_BYTES[pair] / found[0] > 4.1


def test_the_reader_of_machine_code() -> None:
    """A loop with an inner one, an exception of two that is jumped over, and a block of duties that three warps share."""
    text = ["IMMA.16832 R0, R1, R2, R0", "MOV R3, R4", "IADD3 R5, R5", "@P0 BRA 0x10", "@!P1 BRA 0x70", "MUFU.EX2 R6, R6"]
    text += ["MUFU.EX2 R7, R7", "FADD R8, R8", "@P3 BRA 0xd0", "@P4 BRA 0xb0", "IMMA.16832.S8.S8 R0, R1, R2, R0"]
    text += ["UBLKPF.L2 [UR4], UR6", "SHFL.BFLY PT, R9, R9, 0x1, 0x1f", "FADD R8, R8", "@P2 BRA 0x0"]
    kernel = sass.Kernel([16 * i for i in range(len(text))], text)
    assert kernel.loops() == [(1, 3), (0, 14)]
    assert sass.common_path(kernel) == 5 + 2 + 2  # to the first jump, the FADD and its jump, the last two
    assert sass.duties(kernel) == 4
