"""The public names of qjl.hf as a type checker shows them to a user."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

TYPED = """
from transformers import LlamaConfig, LlamaForCausalLM
from qjl.hf import QJLCache, QJLLayer, enable, enabled

config = LlamaConfig()
model = LlamaForCausalLM(config)
cache = QJLCache(config, "k3v2", skip_layers=[0], max_tokens=4096, threads=1)
enable(model)
with enabled(model) as same:
    reveal_type(same)
reveal_type(cache)
reveal_type(cache.memory_report())
reveal_type(cache.compressed_tokens_read)
reveal_type(cache.compressed)
cache.save("a.qjlkv.safetensors", token_ids=[[1, 2]], model="a model")
reveal_type(QJLCache.load("a.qjlkv.safetensors", config))
QJLCache(config, cache=3)
cache.save()
QJLCache(config, max_token=1)
enable("model")
"""

# The types of torch are not ours, and there are so many that reading them takes a minute.
CONFIG = """
[mypy]
strict = True
[mypy-torch.*]
follow_imports = skip
"""


def test_a_type_checker_knows_the_public_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is absent")
    (tmp_path / "typed.py").write_text(TYPED.lstrip())
    (tmp_path / "mypy.ini").write_text(CONFIG.lstrip())
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", str(ROOT / ".cache/mypy"), "typed.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert re.findall(r'Revealed type is "(.*)"', done.stdout) == [
        "transformers.modeling_utils.PreTrainedModel",
        "qjl.hf.cache.QJLCache",
        "dict[str, Any]",
        "int",
        "list[qjl.hf.layer.QJLLayer]",
        "qjl.hf.cache.QJLCache",
    ], done.stdout
    errors = [(int(line), kind) for line, kind in re.findall(r"typed\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)]
    assert errors == [(16, "arg-type"), (17, "call-arg"), (18, "call-arg"), (19, "arg-type")], done.stdout
