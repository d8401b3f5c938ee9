"""Layers with a window: what `qjl info` and `qjl run` say of them, and a context of many windows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, Program

WINDOW, LAYERS, WINDOWED = 512, 18, 15


@pytest.fixture(scope="module")
def gemma() -> Path:
    path = ROOT / ".cache/models/gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        pytest.skip(f"{path} is absent; `./dev model gemma` gets it")
    return path


def test_info_tells_full_and_windowed_layers_apart(qjl: Program, gemma: Path, model: Path) -> None:
    sizes = {}
    for context in (4096, 32768):
        info = json.loads(qjl("info", "-m", gemma, "-c", context, "--json").stdout)
        assert info["model"]["layers_with_window"] == WINDOWED
        sizes[context] = {row["cache"]: row for row in info["caches"]}
    for cache in ("f16", "k3v2"):
        short, long = (sizes[context][cache] for context in (4096, 32768))
        assert long["full_layers_mb"] == pytest.approx(8 * short["full_layers_mb"], rel=0.02)
        assert long["windowed_layers_mb"] == pytest.approx(short["windowed_layers_mb"])
        assert long["full_layers_mb"] + long["windowed_layers_mb"] == pytest.approx(long["cache_mb"])
        assert long["all_kept_mb"] == pytest.approx(long["full_layers_mb"] * LAYERS / (LAYERS - WINDOWED), rel=0.02)
        assert long["cache_mb"] < long["all_kept_mb"] / 4
    assert "windowed_layers_mb" not in json.loads(qjl("info", "-m", model, "--json").stdout)["caches"][0]
    assert "windowed layers MB" in qjl("info", "-m", gemma).stdout


def test_run_keeps_a_window_of_windowed_layers(qjl: Program, gemma: Path, long_text: Path, tmp_path: Path) -> None:
    """And its saved cache goes on as the one that wrote it."""
    text = tmp_path / "text.txt"
    text.write_text(long_text.read_text()[:12000])
    saved = tmp_path / "text.qjlkv.safetensors"

    def run(*words: object) -> dict:
        done = qjl("run", "-m", gemma, "-c", 8192, "--temp", 0, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    whole = run("-f", text, "-n", 8)
    first = run("-f", text, "-n", 4, "--save-cache", saved)
    assert first["text"] + run("--load-cache", saved, "-n", 4)["text"] == whole["text"]
    assert whole["prompt_tokens"] > 4 * WINDOW
    # Five or six pages and the open one, beside twenty and the open one, which takes as much as six pages of codes.
    assert whole["windowed_layers_mb"] / WINDOWED < 0.6 * whole["full_layers_mb"] / (LAYERS - WINDOWED)
