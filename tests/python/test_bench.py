"""The benchmark programs on tiny cases: reports have their keys, rivals agree with doubles. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/results/speed"

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


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def report(results: Path, page: Path, *words: str) -> str:
    pages = ["--page", page, "--cost-page", page.with_name("cost_model.md")]
    command = [sys.executable, ROOT / "bench/report/report.py", "--results", results, *pages, *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return page.read_text()


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of a tiny run of every part that needs no other program."""
    folder = tmp_path_factory.mktemp("results")
    shape = ["--head-dim", "64,128", "--group", "1,3", "--threads", 1, "--kv-heads", 2, "--cache", "k2v2,paper", "--seconds", 0.01]
    bench("kernels", "--out", folder / "kernels.jsonl", "--tokens", "128,1024", *shape)
    bench("paper", "--out", folder / "paper.jsonl", "--tokens", 1024, "--cache", "k3v2", "--seconds", 0.01)
    codes = ["--cache", "k2v2,t2v2", "--head-dim", 64, "--group", 1, "--tokens", 1024, "--kv-heads", 2, "--seconds", 0.01]
    rows = [{"kind": "machine", **json.loads(bench("machine"))}, *json.loads(bench("codes", *codes))["rows"]]
    (folder / "codes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "machine.json").write_text(bench("machine"))
    costs = json.loads(bench("cost"))
    (folder / "cost.jsonl").write_text("".join(json.dumps(row) + "\n" for row in costs))
    return folder


def test_kernels_rows_are_complete_and_resume(bench, measured: Path) -> None:
    file = measured / "kernels.jsonl"
    before = rows_of(file)
    attends = [row for row in before if row["kind"] == "attend"]
    points = {(row["head_dim"], row["group"], row["tokens"]) for row in attends}
    assert points == {(d, g, t) for d in (64, 128) for g in (1, 3) for t in (128, 1024)}
    for row in attends:
        assert row["stream_share"] * row["stream_gb_per_s"] == pytest.approx(row["gb_per_s"])
        assert row["gb_per_s"] * row["ns_best"] * row["tokens"] * 2 * row["group"] == pytest.approx(row["bytes"])
    # A finished file gains nothing.
    shape = ["--head-dim", 64, "--group", 1, "--threads", 1, "--kv-heads", 2, "--cache", "k2v2", "--seconds", 0.01]
    bench("kernels", "--out", file, "--tokens", 128, *shape)
    assert rows_of(file) == before


def test_page_and_pictures_come_from_the_rows(measured: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = report(measured, tmp_path / "speed.md")
    row = next(row for row in rows_of(measured / "kernels.jsonl") if row["cache"] == "k2v2" and row["kind"] == "attend")
    assert f"{row['ns_best']:.2f}" in page
    level, trellis = (
        next(row for row in rows_of(measured / "codes.jsonl") if row.get("cache") == cache) for cache in ("k2v2", "t2v2")
    )
    assert f"| {level['ns_best']:.2f} | {trellis['ns_best']:.2f} ({trellis['ns_best'] / level['ns_best']:.2f}x) |" in page
    # A page of k2v2 at 128 channels has 32 + 32 bytes of codes and two scales a token.
    assert "| 128 | k2v2 | 32.00 | 32.00 | 2.00 |" in (tmp_path / "cost_model.md").read_text()
    for name in ("contexts", "paper"):
        assert (measured / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        assert (measured / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_committed_page_is_what_its_rows_say(tmp_path: Path) -> None:
    if not (RESULTS / "machine.json").exists():
        pytest.skip("no speed results in this checkout")
    assert report(RESULTS, tmp_path / "speed.md", "--no-pictures") == (ROOT / "docs/results/speed.md").read_text()
    assert (tmp_path / "cost_model.md").read_text() == (ROOT / "docs/cost_model.md").read_text()


def test_engine_server_decodes_and_keeps_its_place(build_dir: Path, model: Path, tmp_path: Path) -> None:
    logits = tmp_path / "logits"
    requests = [
        {"op": "open", "cache": "k3v2", "context": 512, "sequences": 2},
        {"op": "prompt", "tokens": list(range(100, 140)), "copies": 1},
        {"op": "decode", "token": 5, "steps": 2, "sequences": 2},
        {"op": "decode", "token": 5, "steps": 2, "sequences": 2},
        {"op": "logits", "tokens": list(range(100, 300)), "first": 128, "arithmetic": "exact", "file": str(logits)},
        {"op": "nonsense"},
    ]
    done = subprocess.run(
        [build_dir / "qjl_engine_bench", model],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[1]["seconds"] > 0
    assert [len(answer["seconds"]) for answer in answers[2:4]] == [2, 2]
    assert logits.stat().st_size == (200 - 128) * answers[4]["vocabulary"] * 4
    assert "nonsense" in answers[5]["error"]


def test_builds_are_compared_in_one_table(build_dir: Path, model: Path) -> None:
    words = [sys.executable, ROOT / "bench/engine/compare_builds.py", "--model", model, "--before", build_dir, "--after", build_dir]
    few = ["--depths", 0, "--rounds", 1, "--tokens", 2048, "--kv-heads", 2, "--seconds", 0.1]
    done = subprocess.run([*map(str, words + few)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {cells[1]: cells[2:5] for line in done.stdout.splitlines()[2:] if (cells := [cell.strip() for cell in line.split("|")])}
    assert {"prompt of 512 at 0, tokens/s, 2 threads", "decode at 0, tokens/s, 1 thread", "`encode_ns_per_pair`"} <= set(rows)
    for before, after, ratio in rows.values():
        assert float(before) > 0 and float(after) > 0 and float(ratio) > 0
