#!/usr/bin/env python3
"""Changes one line of a file at a time, builds the tests that judge it, and tells which changes no test saw.

    tools/mutate.py [--count 40] [--seed 1] [FILE=TEST,TEST ...]      (default: the list SUBJECTS)

A change: a comparison or a sign for its neighbour, a number one more, a condition turned round, a statement left out. It is made in a
copy of the checkout (build/mutate), so that nothing happens to this one. What does not compile is not counted. The tests of a file are
built and run one after the other, up to the first that sees the change: one that fails, takes far longer than it did before or far
more memory.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / "build/mutate/source"
BUILD = COPY / "build/release"  # as far from the sources as ./dev build's: ccache gives what that one compiled
MOST_MEMORY = 4 << 30  # of one test: a loop without end may ask for all there is

SUBJECTS = {  # the test that sees most of the changes first
    "engine/models/model_config.cpp": [
        "model_config_test",
        "model_bounds_test",
        "delta_config_test",
        "layer_arrays_test",
        "rope_keys_test",
        "forward_test",
    ],
    "engine/files/gguf.cpp": ["gguf_test", "gguf_mutation_test", "gguf_shards_test"],
    "engine/files/read_json.cpp": ["hf_config_test", "tokenizer_json_test", "safetensors_file_test", "worst_case_test"],
    "cli/study/npy.cpp": ["readers_test"],
    "cli/ranges.cpp": ["words_test"],
    "cli/text_input.cpp": ["words_test"],
    "src/core/threads.cpp": ["threads_test", "faults_test"],
    "src/core/processors.cpp": ["processors_test"],
    "src/core/memory/rows.cpp": ["row_checks_test", "rows_test", "bounds_capi_test", "errors_test"],
    "study/decode_speed.cpp": ["decode_speed_test"],
    "study/finite.cpp": ["study_test"],
}

# Found, and what stands there instead. Longer signs first; `->` and `<<` are no comparisons.
SWAPS = [
    (r"(?<![<>=!])<=(?!>)", "<"),
    (r"(?<![<>=!-])>=", ">"),
    (r"(?<![<=!>])==(?!=)", "!="),
    (r"!=", "=="),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )>(?= )", ">="),
    (r"&&(?= )", "||"),
    (r"\|\|", "&&"),
    (r"(?<= )\+(?= )", "-"),
    (r"(?<= )-(?= )", "+"),
    (r"(?<= )\*(?= )", "/"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"(?<![\w.\"])(\d{1,9})(?![\w.\"])", None),  # a number: one more
]
CONDITION = re.compile(r"\bif \((?!!)(?=[^;]*\) )")
LEFT_OUT = re.compile(r"^\s+(if \(.*\) )?(require|refuse|fail|throw|check\w*|return)\b.*;$")


@dataclass(frozen=True)
class Change:
    line: int  # from 1
    text: str  # what the line becomes


def code_of(line: str) -> str:
    """The line without its comments; strings stay, their content is masked by spaces of the same length."""
    masked = re.sub(r'"(\\.|[^"\\])*"', lambda m: '"' + " " * (len(m[0]) - 2) + '"', line)
    masked = re.sub(r"/\*.*?\*/", lambda m: " " * len(m[0]), masked)
    return masked.split("//")[0]


def end_of_condition(code: str, begin: int) -> int | None:
    """Where the bracket that opened before `begin` is closed again; nothing where that is on another line."""
    depth = 1
    for at in range(begin, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return None


def changes_of(lines: list[str]) -> Iterator[Change]:
    for number, line in enumerate(lines, 1):
        code = code_of(line)
        if not code.strip() or line.lstrip().startswith(("#", "//", "template", "using")):
            continue
        if "prefetch(" in code:  # whatever it fetches, no result depends on it
            continue
        for pattern, put in SWAPS:
            for found in re.finditer(pattern, code):
                new = str(int(found[1]) + 1) if put is None else put
                yield Change(number, line[: found.start()] + new + line[found.end() :])
        for found in CONDITION.finditer(code):
            end = end_of_condition(code, found.end())
            if end is not None:
                yield Change(number, f"{line[: found.end()]}!({line[found.end() : end]}){line[end:]}")
        if LEFT_OUT.match(line) and "return" not in code.split("(")[0]:
            yield Change(number, "")


def copy_checkout() -> None:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    shutil.rmtree(COPY, ignore_errors=True)
    for name in names:
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def run(*words: object, limit: float | None = None) -> bool:
    try:
        return subprocess.run(list(map(str, words)), cwd=COPY, capture_output=True, timeout=limit, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def build(*tests: str) -> bool:
    return run("cmake", "--build", BUILD, "--target", *tests)


def passes(test: str, limit: float | None = None) -> bool:
    return run("prlimit", f"--data={MOST_MEMORY}", BUILD / test, limit=limit)


def limit_of(test: str) -> float:
    """Seconds, from those that it takes before any change."""
    is_built = build(test)
    begin = time.monotonic()
    if not is_built or not passes(test):
        sys.exit(f"{test} does not build or does not pass before any change")
    return 5 + 5 * (time.monotonic() - begin)


def try_change(name: str, change: Change, limits: dict[str, float]) -> str:
    file = COPY / name
    before = file.read_text()
    lines = before.split("\n")
    lines[change.line - 1] = change.text
    file.write_text("\n".join(lines))
    try:
        for test, limit in limits.items():
            if not build(test):
                return "does not compile"
            if not passes(test, limit):
                return "seen"
        return "NOT SEEN"
    finally:
        file.write_text(before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="changes tried, drawn by chance from all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("subjects", nargs="*", metavar="FILE=TEST,TEST")
    given = parser.parse_args()
    subjects = {name: tests.split(",") for name, _, tests in (one.partition("=") for one in given.subjects)} or SUBJECTS
    copy_checkout()
    run("cmake", "-G", "Ninja", "-S", COPY, "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DQJL_BUILD_BENCH=OFF", "-DQJL_CUDA=OFF")
    limits = {test: limit_of(test) for test in sorted({test for tests in subjects.values() for test in tests})}
    all_changes = [(name, one) for name in subjects for one in changes_of((COPY / name).read_text().split("\n"))]
    chosen = random.Random(given.seed).sample(all_changes, min(given.count, len(all_changes)))
    count = {"seen": 0, "NOT SEEN": 0, "does not compile": 0}
    for name, change in sorted(chosen, key=lambda pair: (pair[0], pair[1].line)):
        found = try_change(name, change, {test: limits[test] for test in subjects[name]})
        count[found] += 1
        if found == "NOT SEEN":
            print(f"{name}:{change.line}: not seen: {change.text.strip() or 'left out'}", flush=True)
    tried = count["seen"] + count["NOT SEEN"]
    print(f"{count['seen']} of {tried} changes seen, {count['does not compile']} did not compile, of {len(all_changes)} possible")
    return 1 if count["NOT SEEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
