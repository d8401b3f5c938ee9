"""Which versions of vLLM the plugin was written for. Its doors there are not settled (customize_spec calls itself temporary), so that
any other version is refused."""

from __future__ import annotations

import re

from qjl.errors import Unsupported

OLDEST, FIRST_UNKNOWN = (0, 32), (0, 34)
RANGE = ">=0.32,<0.34"


def in_range(found: str, oldest: tuple[int, int] = OLDEST) -> bool:
    """Whether a version is `oldest` or later, and not unknown."""
    numbers = re.match(r"(\d+)\.(\d+)", found)
    return numbers is not None and oldest <= (int(numbers[1]), int(numbers[2])) < FIRST_UNKNOWN


def check_version(found: str) -> None:
    """Errors: Unsupported, with the range, for a version outside it or one that is no version."""
    if not in_range(found):
        raise Unsupported(f"[vllm] found vLLM {found}, wanted {RANGE}")
