"""Adds up JUnit reports, tells what was skipped and why, and prints the line that closes a test run: `N passed, N failed, N skipped`.

A test program of C++ is one test of ctest; what it leaves out of itself it tells by lines `SKIPPED name: reason`
(tests/support/skipped.hpp), which are counted too, beside the program that passed.

Usage: sum_reports.py REPORT.xml...     Exits with 1 when a test failed, or none passed.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from xml.etree import ElementTree

TOLD = re.compile(r"^SKIPPED (\S.*?): (.+)$", re.MULTILINE)


@dataclass
class Sum:
    passed: int = 0
    failed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)  # test, reason

    def add(self, case: ElementTree.Element) -> None:
        name = case.get("name", "?")
        told = [(f"{name} {part}", reason) for part, reason in TOLD.findall(case.findtext("system-out") or "")]
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            self.failed += 1
        elif skip is not None or case.get("status") in ("disabled", "notrun"):
            reason = told[0][1] if told else skip.get("message", "") if skip is not None else ""
            self.skipped.append((name, reason or f"no reason ({case.get('status')})"))
        else:
            self.passed += 1
            self.skipped += told


def lines(total: Sum) -> list[str]:
    """Skips of one reason in one line: how many, why, and the first of them."""
    first, count = (
        dict(reversed([(reason, name) for name, reason in total.skipped])),
        Counter(reason for _, reason in total.skipped),
    )
    told = [
        f"skipped {number}: {reason} ({first[reason]}{', ...' if number > 1 else ''})" for reason, number in count.most_common()
    ]
    return [*told, f"{total.passed} passed, {total.failed} failed, {len(total.skipped)} skipped"]


def main() -> int:
    total = Sum()
    for path in sys.argv[1:]:
        for case in ElementTree.parse(path).iter("testcase"):
            total.add(case)
    print("\n".join(lines(total)))
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
