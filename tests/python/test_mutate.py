"""tools/mutate.py changes code, one place at a time, and neither comments nor texts."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import mutate  # noqa: E402


def texts(line: str) -> set[str]:
    return {change.text for change in mutate.changes_of([line])}


def test_signs_numbers_and_conditions_change_one_at_a_time() -> None:
    assert texts("  if (a < 3 && b) x = 1;") == {
        "  if (a <= 3 && b) x = 1;",
        "  if (a < 4 && b) x = 1;",
        "  if (a < 3 || b) x = 1;",
        "  if (a < 3 && b) x = 2;",
        "  if (!(a < 3 && b)) x = 1;",
    }
    assert "  if (!(f(a) && g(b))) {" in texts("  if (f(a) && g(b)) {")


def test_checks_are_left_out() -> None:
    assert "" in texts('  require(a == b, "op", "found 1");')
    assert "" in texts('  if (a) throw Error("x");')
    assert "" not in texts("  return a + b;")


def test_comments_texts_and_directives_stay() -> None:
    assert texts("  // a < 3") == set()
    assert texts('  f("a < 3");  // == 1') == set()
    assert texts("  f(a /* 7 */);  // 8") == set()
    assert texts("#include <a>") == set()
    assert texts("  std::vector<int> p->q << r;") == set()


def test_every_subject_and_its_tests_are_there() -> None:
    built = {path.stem for path in (ROOT / "tests").rglob("*_test.c*")}
    for name, judges in mutate.SUBJECTS.items():
        assert (ROOT / name).is_file(), name
        assert set(judges) <= built, name
