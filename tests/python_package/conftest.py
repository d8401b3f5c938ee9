"""What the tests of the package share: rows of numbers, and a cache in NumPy that holds what the real one must (model.py)."""

from __future__ import annotations

import numpy as np
import pytest
from model import Rows


@pytest.fixture
def rows() -> Rows:
    """rows(*shape): normal numbers that 16 bits hold, float32; the same in every run."""
    random = np.random.default_rng(5)

    def make(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float16).astype(np.float32)

    return make
