"""The parts of `./dev bench-serve` that need no server: how streams are read, rows kept, and the page made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench/serving"))

from load import best_cache  # noqa: E402
from row_log import RowLog  # noqa: E402
from serve_report import page  # noqa: E402
from streams import END, Answer, take_events  # noqa: E402

RESULTS = ROOT / "docs/results"
EVENTS = [
    b'1f\r\ndata: {"choices":[{"text":"One"}],"usage":null}\n\n\r\n',
    b': ping\n\n1f\r\ndata: {"choices":[{"text":" two"}]}\n\n\r\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}\n\n',
    b"data: [DONE]\n\n",
]


def test_streams_are_read_wherever_they_are_cut() -> None:
    stream = b"HTTP head\r\n\r\n" + b"".join(EVENTS)
    for cut in range(1, len(stream)):
        answer, rest = Answer(), b""
        for now, part in enumerate((stream[:cut], stream[cut:])):
            rest = take_events(rest + part, answer, now)
        assert (len(answer.times), answer.computed, answer.error) == (2, 5, ""), cut
        assert END in rest
    failed = Answer()
    take_events(b'data: {"error":{"message":"the server stops"}}\n\n', failed, 0)
    assert "the server stops" in failed.error


def test_rows_outlive_a_cut_and_no_other_machine(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    log = RowLog(path, "here", set())
    log.add(part="A", round=0)
    log.add(part="B", round=0)
    again = RowLog(path, "here", {"B"})
    assert again.has(part="A", round=0)
    assert not again.has(part="A", round=1)
    assert not again.has(part="B")
    again.forget("A")
    assert path.read_text() == ""
    log.add(part="A", round=1)
    elsewhere = RowLog(path, "elsewhere", set())
    assert elsewhere.rows == []
    elsewhere.add(part="A", round=2)
    elsewhere.forget("A")
    assert RowLog(path, "here", set()).has(part="A", round=1)  # what is of another machine stays where it is


def test_more_clients_wait_for_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--clients 1"):
        best_cache(RowLog(tmp_path / "rows.jsonl", "here", set()), "A", "Q4_1")


def row(server: str, cache: str, speed: float, megabytes: float) -> dict:
    size = {"peak_bytes": megabytes * 1e6, "file_bytes": 100e6}
    times = dict.fromkeys(("first_median", "first_p95", "first_last", "gap_median", "gap_p99"), 0.1)
    return {
        "machine": "here", "part": "C", "case": "distinct", "file": "Q4_1", "clients": 8, "server": server, "cache": cache, "round": 0,
        "tokens_per_second": speed, "computed": 1, **times, **size,
    }  # fmt: skip


def test_the_best_of_theirs_is_what_counts() -> None:
    text = page([row("qjl", "k3v2", 60, 200), row("llama.cpp", "f16", 10, 500), row("llama.cpp", "q4_0", 20, 300)])
    assert "| C, tokens/s | Q4_1 | 8 | 60.0 | 20.0 (q4_0) | 3.00 | 5 | **no** |" in text
    assert "| C, largest memory above the weights, MB | Q4_1 | 8 | 100 | 400 (f16) | 0.25 | 0.29 | yes |" in text
    assert "| 100 | 200 (q4_0) | 0.50 | 0.75 | yes |" in text


def test_the_page_is_of_the_rows_beside_it() -> None:
    rows = [json.loads(line) for line in (RESULTS / "serve.jsonl").read_text().splitlines()]
    assert (RESULTS / "serve.md").read_text() == page(rows)
