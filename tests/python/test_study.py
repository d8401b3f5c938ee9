"""`qjl study`: what is there is not run again, a small slice of the published figures comes out again, and the pages of docs/results
are what their script makes of the raw results."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Program

sys.path.insert(0, str(ROOT / "tools/study"))

import common
import report
import retrieval_cases

RESULTS = ROOT / "docs/results"
TEXTS = ROOT / "tools/study/texts.json"
SOUTH = ("--texts", TEXTS, "--only", "south")
REPORTS = [name for name, one in report.REPORTS.items() if (RESULTS / one.source).exists()]


def run_study(qjl: Program, *words: object) -> None:
    done = qjl("study", *words)
    assert done.returncode == 0, done.stderr


def rows_of(path: Path) -> list[dict]:
    return common.read_rows(path)


def test_rows_that_are_there_are_not_run_again(qjl: Program, model: Path, tmp_path: Path) -> None:
    results = tmp_path / "rate.jsonl"
    words = ("rate", "-m", model, *SOUTH, "--contexts", 256, "--positions", 32, "-o", results)
    run_study(qjl, *words, "--cache", "k2v2,int4")
    first = rows_of(results)
    assert [row["cache"] for row in first] == ["k2v2", "int4"]
    assert [row["simulated"] for row in first] == [False, True]
    stale = [dict(row, kld_mean=0, version="0") if row["cache"] == "int4" else dict(row, kld_mean=7) for row in first]
    results.write_text("".join(json.dumps(row) + "\n" for row in stale))
    run_study(qjl, *words, "--cache", "k2v2,int4,k3v2")
    second = rows_of(results)
    assert [row["cache"] for row in second] == ["k2v2", "int4", "k3v2"]
    assert second[0]["kld_mean"] == 7, "the row was there, and was run again"
    assert second[1]["kld_mean"] > 0, "the row was another version's, and was kept"
    run_study(qjl, *words, "--cache", "k2v2", "--again", "k2v2")
    assert rows_of(results)[0]["kld_mean"] != 7


def test_wrong_words_are_wrong_usage(qjl: Program, model: Path, tmp_path: Path) -> None:
    words = ("rate", "-m", model, "--texts", TEXTS, "-o", tmp_path / "rate.jsonl", "--contexts", 256, "--positions", 32)
    assert qjl("study").returncode == 2
    assert qjl("study", *words, "--only", "no such text").returncode == 2
    assert qjl("study", *words, "--only", "south", "--cache", "k9v9").returncode == 2
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\nno json\n")
    done = qjl("study", *words, "--only", "south", "-o", broken)
    assert done.returncode != 0


def test_retrieval_finds_a_passkey(qjl: Program, model: Path, tmp_path: Path) -> None:
    cases, results = tmp_path / "cases.jsonl", tmp_path / "retrieval.jsonl"
    made = [case for case in retrieval_cases.cases([512], 1) if case["type"] == "lines" or case["questions"][0]["depth"] == 0.3125]
    cases.write_text("".join(json.dumps(case) + "\n" for case in made))
    run_study(qjl, "retrieval", "-m", model, "--cases", cases, "--cache", "f16,k4v4", "-o", results)
    rows = {(row["type"], row["cache"]): row for row in rows_of(results)}
    assert rows["passkey", "f16"]["given"] == [made[0]["questions"][0]["answer"]]
    assert rows["passkey", "f16"]["right"] == [1]
    assert len(rows["lines", "k4v4"]["right"]) == 4


def test_distortion_and_inspect(qjl: Program, model: Path, tmp_path: Path) -> None:
    results = tmp_path / "distortion.jsonl"
    run_study(qjl, "distortion", "-m", model, *SOUTH, "-c", 256, "--cache", "k2v2,k4v4", "-o", results)
    rows = rows_of(results)
    assert len(rows) == 60
    by_layer = {(row["layer"], row["cache"]): row for row in rows}
    for layer in range(30):
        assert by_layer[layer, "k4v4"]["score_error"] < by_layer[layer, "k2v2"]["score_error"]
    done = qjl("inspect", "-m", model, "-f", ROOT / "examples/texts/south.txt", "-c", 256, "--cache", "k2v2", "--json")
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert [len(layer["heads"]) for layer in layers] == [3] * 30
    # One cache, one text, one layer: the errors of the heads are parts of the layer's.
    errors = [head["errors"]["k2v2"]["score_error"] for head in layers[0]["heads"]]
    assert min(errors) <= by_layer[0, "k2v2"]["score_error"] <= max(errors)


@pytest.mark.parametrize("name", REPORTS)
def test_pages_are_what_the_script_makes(name: str) -> None:
    assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == report.document(name, RESULTS)


def test_a_slice_comes_out_again(qjl: Program, model: Path, tmp_path: Path) -> None:
    """The square root of a KL divergence behaves like a distance between logits. Each of the two runs is off by its arithmetic,
    whose divergence is the floor: |sqrt K' - sqrt K| <= 2 sqrt(floor)."""
    published = {(row["text"], row["context"], row["cache"]): row for row in rows_of(RESULTS / "rate.jsonl")}
    results = tmp_path / "rate.jsonl"
    run_study(qjl, "rate", "-m", model, *SOUTH, "--contexts", 2048, "--cache", "k3v2,q4_0h", "-o", results)
    for row in rows_of(results):
        wanted = published["south", 2048, row["cache"]]
        assert row["bits_sealed"] == wanted["bits_sealed"]
        assert row["version"] == wanted["version"], (
            "the codec writes other bytes than those that were published: run the study again"
        )
        bound = 2 * math.sqrt(max(row["floor_kld"], wanted["floor_kld"]))
        assert abs(math.sqrt(row["kld_mean"]) - math.sqrt(wanted["kld_mean"])) <= bound, row["cache"]
