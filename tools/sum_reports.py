"""Adds up JUnit reports and prints the line that closes a test run: `N passed, N failed, N skipped`.

Usage: sum_reports.py REPORT.xml...     Exits with 1 when a test failed, or none passed.
"""

from __future__ import annotations

import sys
from xml.etree import ElementTree


def counts(path: str) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("disabled", "notrun"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main() -> int:
    passed, failed, skipped = (sum(column) for column in zip(*map(counts, sys.argv[1:]), strict=True))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
