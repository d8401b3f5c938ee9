"""tools/sum_reports.py counts what ctest and pytest report, skips too, with their reasons."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT

CTEST = """<testsuite name="(empty)" tests="5" failures="1" disabled="1" skipped="1">
  <testcase name="plain_test" status="run"><system-out>[  PASSED  ] 3 tests.</system-out></testcase>
  <testcase name="attend_test" status="run"><system-out>[ RUN ]
SKIPPED Attend.InPairs: no bf16 products
[  PASSED  ] 2 tests.</system-out></testcase>
  <testcase name="attend_test_avx512" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
    <system-out>SKIPPED all tests: this processor has scalar, avx2
</system-out></testcase>
  <testcase name="bad_test" status="fail"><failure message=""/><system-out>SKIPPED A.B: never mind</system-out></testcase>
  <testcase name="off_test" status="disabled"/>
</testsuite>
"""
PYTEST = """<testsuites><testsuite name="pytest" tests="3">
  <testcase name="test_one"/>
  <testcase name="test_two"><skipped type="pytest.skip" message="no bf16 products">a.py:3: no bf16 products</skipped></testcase>
  <testcase name="test_three"><error message="failed on setup"/></testcase>
</testsuite></testsuites>
"""


def summed(tmp_path: Path, *reports: str) -> tuple[int, list[str]]:
    paths = [tmp_path / f"{number}.xml" for number in range(len(reports))]
    for path, text in zip(paths, reports, strict=True):
        path.write_text(text)
    done = subprocess.run([sys.executable, ROOT / "tools/sum_reports.py", *paths], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_skips_are_counted_and_told_by_their_reasons(tmp_path: Path) -> None:
    assert summed(tmp_path, CTEST, PYTEST) == (
        1,
        [
            "skipped 2: no bf16 products (attend_test Attend.InPairs, ...)",
            "skipped 1: this processor has scalar, avx2 (attend_test_avx512)",
            "skipped 1: no reason (disabled) (off_test)",
            "3 passed, 2 failed, 4 skipped",
        ],
    )


def test_a_skip_behind_a_long_output_is_counted(tmp_path: Path) -> None:
    """tools/dev/test.sh asks ctest for more than the first 1024 bytes of a test that passed."""
    chatter = "[ RUN      ] A.Test\n" * 100_000
    case = f"<testcase name='a' status='run'><system-out>{chatter}SKIPPED A.B: no bf16 products\n{chatter}</system-out></testcase>"
    expected = ["skipped 1: no bf16 products (a A.B)", "1 passed, 0 failed, 1 skipped"]
    assert summed(tmp_path, f"<testsuite>{case}</testsuite>") == (0, expected)


def test_both_runs_of_ctest_keep_their_output() -> None:
    runs = [line for line in (ROOT / "tools/dev/test.sh").read_text().replace("\\\n", "").splitlines() if "--output-junit" in line]
    assert len(runs) == 2
    assert all("--test-output-size-passed" in line for line in runs)


def test_a_run_without_a_passed_test_has_failed(tmp_path: Path) -> None:
    assert summed(tmp_path, '<testsuite><testcase name="a"/></testsuite>') == (0, ["1 passed, 0 failed, 0 skipped"])
    assert summed(tmp_path, "<testsuite/>") == (1, ["0 passed, 0 failed, 0 skipped"])
