"""A model whose layers keep a recurrent state beside the cache: the verbs of the program over it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Program
from tiny_models import HEAD_DIM, HEADS, HIDDEN, write_tiny_model

LAYERS, KEY_HEADS, VALUE_HEADS, DIM, KERNEL = 4, 2, 4, 32, 4
MIXED, VALUES = 2 * KEY_HEADS * DIM + VALUE_HEADS * DIM, VALUE_HEADS * DIM
STATES = LAYERS // 2  # every second layer attends
TEXT = "The quick brown fox jumps over the lazy dog. " * 12


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = {
        "full_attention_interval": 2,
        "rope.dimension_count": HEAD_DIM // 4,
        "ssm.conv_kernel": KERNEL,
        "ssm.state_size": DIM,
        "ssm.group_count": KEY_HEADS,
        "ssm.time_step_rank": VALUE_HEADS,
        "ssm.inner_size": VALUES,
    }
    shapes: dict[str, tuple[int, ...] | None] = {}
    tensors = {}
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        if layer % 2 == 1:
            shapes |= {name + "attn_q.weight": (2 * HEADS * HEAD_DIM, HIDDEN)}
            shapes |= {name + f"attn_{part}_norm.weight": (HEAD_DIM,) for part in "qk"}
            continue
        shapes |= {name + f"attn_{part}.weight": None for part in ("q", "k", "v", "output")}
        shapes |= {
            name + "attn_qkv.weight": (MIXED, HIDDEN),
            name + "attn_gate.weight": (VALUES, HIDDEN),
            name + "ssm_alpha.weight": (VALUE_HEADS, HIDDEN),
            name + "ssm_beta.weight": (VALUE_HEADS, HIDDEN),
            name + "ssm_conv1d.weight": (MIXED, KERNEL),
            name + "ssm_a": (VALUE_HEADS,),
            name + "ssm_dt.bias": (VALUE_HEADS,),
            name + "ssm_norm.weight": (DIM,),
            name + "ssm_out.weight": (HIDDEN, VALUES),
        }
        tensors[name + "ssm_a"] = -np.logspace(-3, 0, VALUE_HEADS)
    path = tmp_path_factory.mktemp("hybrid") / "hybrid.gguf"
    return write_tiny_model(path, layers=LAYERS, context=4096, architecture="qwen35", keys=keys, shapes=shapes, tensors=tensors)


def result(qjl: Program, *words: object) -> dict:
    done = qjl(*words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_info_tells_layers_apart(qjl: Program, hybrid: Path) -> None:
    info = result(qjl, "info", "-m", hybrid, "-c", 1024, "--json")
    model = info["model"]
    assert (model["layers"], model["layers_with_cache"], model["layers_with_state"]) == (LAYERS, LAYERS - STATES, STATES)
    state = (KERNEL - 1) * MIXED + VALUE_HEADS * DIM * DIM
    assert model["state_mb"] == pytest.approx(4e-6 * STATES * state)
    f16 = next(row for row in info["caches"] if row["cache"] == "f16")
    assert f16["cache_mb"] == pytest.approx(1e-6 * 1024 * 2 * 2 * HEAD_DIM * (LAYERS - STATES), rel=0.01)
    assert "layers_with_state" in qjl("info", "-m", hybrid).stdout


def test_a_saved_cache_has_the_state(qjl: Program, hybrid: Path, tmp_path: Path) -> None:
    saved = tmp_path / "text.qjlkv.safetensors"
    usual = ("run", "-m", hybrid, "--temp", 0, "--json", "--cache", "k3v2")
    whole = result(qjl, *usual, "-p", TEXT, "-n", 24)
    assert whole["recurrent_mb"] > 0
    first = result(qjl, *usual, "-p", TEXT, "-n", 8, "--save-cache", saved)
    assert first["text"] + result(qjl, *usual, "--load-cache", saved, "-n", 16)["text"] == whole["text"]
    plain = write_tiny_model(tmp_path / "plain.gguf", layers=2)
    refused = qjl("run", "-m", plain, "--load-cache", saved, "-n", 1)
    assert refused.returncode == 1 and "recurrent_numbers" in refused.stderr


def test_eval_compares_with_the_same_states(qjl: Program, hybrid: Path, tmp_path: Path) -> None:
    """An exact cache filled from outside is the exact cache: what it lacks is the arithmetic's noise."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    report = result(qjl, "eval", "-m", hybrid, "-f", text, "-c", 512, "--prompt", 300, "--cache", "f16,k4v4,k2v2", "--json")
    rows = {row["cache"]: row["kld_mean"] for row in report["results"]}
    assert rows["f16"] < 1e-6 < rows["k4v4"] < rows["k2v2"]


def test_plan_has_a_row_for_each_layer_that_attends(qjl: Program, hybrid: Path, tmp_path: Path) -> None:
    text, plan = tmp_path / "text.txt", tmp_path / "plan.json"
    text.write_text(TEXT)
    words = ("-f", text, "--text-context", 512, "--positions", 128, "--plan", plan)
    done = qjl("plan", "-m", hybrid, "--budget", 3, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(plan.read_text())["model"]["num_layers"] == LAYERS - STATES
    result(qjl, "run", "-m", hybrid, "-p", TEXT, "-n", 4, "--cache", plan, "--json")


def test_serve_refuses_saved_prefixes(qjl: Program, hybrid: Path, tmp_path: Path) -> None:
    refused = qjl("serve", "-m", hybrid, "--prefix-dir", tmp_path, "--port", 0)
    assert refused.returncode == 1 and "prefix_dir" in refused.stderr and "recurrent state" in refused.stderr
