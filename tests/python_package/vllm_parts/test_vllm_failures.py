"""A step that failed, in the vLLM plugin: who learns of it, what it was writing, and who stands on that. No vLLM here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from qjl.vllm.failures import spoiled, written_blocks

ONE_OF_TWO = """
import sys, torch
from qjl.vllm.failures import failed_anywhere
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
print(*(failed_anywhere(rank in failing, torch.distributed.group.WORLD) for failing in ((), (0,), (1,), (0, 1), ())))
torch.distributed.destroy_process_group()  # its threads must end before the interpreter does
"""


def test_every_worker_learns_of_an_error_in_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = [sys.executable, "-c", ONE_OF_TWO]
    workers = [subprocess.Popen([*words, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True) for rank in (0, 1)]
    for worker in workers:
        assert worker.communicate(timeout=100)[0].split() == ["False", "True", "True", "True", "False"]


def test_blocks_that_a_step_was_writing() -> None:
    groups = [[4, 7, 9, 2], [11, 12]]
    assert written_blocks(groups, [128, 256], 0, 128) == {4, 11}
    assert written_blocks(groups, [128, 256], 130, 131) == {7, 11}  # the open block, which earlier steps began
    assert written_blocks(groups, [128, 256], 256, 512) == {9, 2, 12}


def test_whoever_stands_on_a_spoiled_block_ends() -> None:
    """A pipeline: `next` took what `failed` was writing as its prefix, and `last` what `next` wrote behind it. `other` shares but the
    good beginning."""
    held = {
        "failed": [[1, 2, 3]],
        "other": [[1, 8]],
        "last": [[1, 2, 5, 6]],
        "next": [[1, 2, 5]],
        "apart": [[9, 10]],
    }
    assert spoiled({2, 3}, held) == ({"failed", "next", "last"}, {2, 3, 5, 6})
    del held["failed"]  # aborted while the step ran
    assert spoiled({3}, held) == (set(), {3})
    assert spoiled({5}, {"last": [[0, 5], [20, 6]], "more": [[6], [7]], "far": [[7], [20]]}) == ({"last"}, {5})
