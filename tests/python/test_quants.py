"""Every stored number format against PyPI `gguf` on random bytes, bit for bit (a NaN is a NaN)."""

import gguf
import numpy as np
import pytest

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
TYPES += ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "MXFP4"]


@pytest.mark.parametrize("name", TYPES)
def test_dequantize(name, run_probe, tmp_path):
    quant_type = gguf.GGMLQuantizationType[name]
    _, block_bytes = gguf.GGML_QUANT_SIZES[quant_type]
    blocks = np.random.default_rng(int(quant_type)).integers(0, 256, (4096, block_bytes), dtype=np.uint8)
    blocks.tofile(tmp_path / "blocks")
    run_probe("quants_probe", int(quant_type), tmp_path / "blocks", tmp_path / "out")
    found = np.fromfile(tmp_path / "out", np.float32)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(blocks, quant_type).reshape(-1)
    assert found.shape == wanted.shape
    # +0 and -0 are the same number; NaN payloads are not numbers
    wrong = np.flatnonzero(~((found == wanted) | (np.isnan(found) & np.isnan(wanted))))
    assert wrong.size == 0, f"{name}: number {wrong[0]} is {found[wrong[0]]}, wanted {wanted[wrong[0]]}"
