"""`./dev bench python` on a few tokens: every row is there, and the page shows them. No time is judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from real_models import FILES, MODELS, ROOT, load

BUILD = ROOT / "build/release"
CACHES = ["k3v2", "DynamicCache, sdpa", "DynamicCache, eager", "StaticCache, sdpa", "products alone", "the program"]
LAYER = ["k3v2", "KvCache.step", "the same in C++", "DynamicCache, sdpa", "sdpa, nothing grown"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    for program in ("qjl_bench", "qjl_engine_bench"):
        if not (BUILD / program).exists():
            pytest.skip(f"no {BUILD / program}: `./dev build` builds it")
    load("smollm2")  # converts it when nobody has
    out = tmp_path_factory.mktemp("speed")
    words = ["--model", MODELS / FILES["smollm2"], "--folder", MODELS / "hf/smollm2", "--out", out / "python.jsonl", "--rounds", 1]
    sizes = ["--depths", "0,256", "--bf16-depths", 0, "--threads-depth", 256, "--layer-tokens", 256]
    command = [sys.executable, ROOT / "bench/python/transformers_bench.py", *words, *sizes]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.copy(ROOT / "docs/results/speed/machine.json", out)
    return out


def test_rows_are_complete(folder):
    rows = [json.loads(line) for line in (folder / "python.jsonl").read_text().splitlines()]
    found = [(row["dtype"], row["depth"], row["name"]) for row in rows if row["kind"] == "step"]
    assert found == [
        (dtype, depth, name) for dtype, depth in (("float32", 0), ("float32", 256), ("bfloat16", 0)) for name in CACHES
    ]
    assert [row["name"] for row in rows if row["kind"] == "layer"] == LAYER
    assert [(row["threads"], row["own_threads"]) for row in rows if row["kind"] == "threads"] == [
        (1, 1),
        (2, 1),
        (2, 2),
        (1, None),
        (2, None),
    ]
    assert [row["processors"] > 0 for row in rows if row["kind"] == "machine"] == [True]
    timed = [row for row in rows if row["kind"] != "machine"]
    assert all(row["seconds_median"] > 0 and row["spread"] >= 0 and row["steps"] >= 4 for row in timed)


def test_the_page_shows_them(folder, tmp_path):
    pages = ["--page", tmp_path / "speed.md", "--cost-page", tmp_path / "cost.md", "--no-pictures"]
    command = [sys.executable, ROOT / "bench/report/report.py", "--results", folder, *pages]
    subprocess.run([str(word) for word in command], check=True)
    page = (tmp_path / "speed.md").read_text()
    assert "## The cache in Transformers" in page
    assert page.count("Measured on: ") == 2  # the page's machine, and that of these rows
    for name in (*CACHES, *LAYER):
        assert f"| {name} |" in page, name
    assert "| step in Transformers vs DynamicCache, float32, depth 0 | >= 0.95 |" in page
    assert "| step in Transformers vs DynamicCache, float32, depth 4096 | >= 1.4 | not measured |" in page
