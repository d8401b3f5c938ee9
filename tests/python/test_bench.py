"""The benchmark programs on tiny cases: reports have their keys, rivals agree with doubles. No time is judged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

RATIOS = {
    "attend_stream_share_g1",
    "attend_vs_exact_g1",
    "attend_vs_exact_g4",
    "attend_vs_exact_g8",
    "attend_k3v2_d64_g3_vs_exact",
    "attend_two_thread_speedup",
    "encode_ns_per_pair",
}


@pytest.fixture(scope="module")
def bench(build_dir: Path):
    path = build_dir / "qjl_bench"
    if not path.exists():
        pytest.fail(f"{path} is not built; `./dev build` builds it")

    def run(*words: object) -> str:
        done = subprocess.run([path, *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_quick_reports_every_ratio(bench, tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    printed = bench("quick", "--tokens", 2048, "--kv-heads", 2, "--seconds", 0.1, "--json", file)
    report = json.loads(printed)
    assert json.loads(file.read_text()) == report
    assert set(report["ratios"]) >= RATIOS
    rivals = {name: check for name, check in report["checks"].items() if name.startswith("exact d=")}
    for name, check in rivals.items():
        assert check["error"] < report["checks"]["exact_error_bound"], name
    for row in report["rows"]:
        assert 0 < row["ns_best"] <= row["ns_median"], row
    # Codes of 2 + 2 bits are 64 bytes a token at 128 channels; scales, means and four exact sinks (2 kB a head) add under an eighth.
    (row,) = [row for row in report["rows"] if row["name"] == "k2v2 d=128 G=1"]
    assert 64 < row["bytes"] / (2 * 2048) < 72
    if rivals:
        assert all(report["ratios"][name] > 0 for name in RATIOS - {"attend_two_thread_speedup"})
