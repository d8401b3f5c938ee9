#!/usr/bin/env python3
"""Changes one line of a file at a time, builds the tests that judge it, and tells which changes no test saw.

    tools/mutate.py [--count 40] [--seed 1] [FILE=TEST,TEST ...]      (default: the list SUBJECTS)

A change: a comparison or a sign for its neighbour, a number one more, a condition turned round, a statement left out. It is made in a
copy of the checkout (build/mutate), so that nothing happens to this one. What does not compile is not counted; a test that takes
longer than LIMIT seconds has seen the change.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / "build/mutate/source"
BUILD = COPY / "build/release"  # as far from the sources as ./dev build's: ccache gives what that one compiled
LIMIT = 120

SUBJECTS = {
    "engine/models/model_config.cpp": ["model_config_test", "model_bounds_test", "rope_keys_test", "forward_test"],
    "engine/files/gguf.cpp": ["gguf_test", "gguf_mutation_test", "gguf_shards_test"],
    "engine/files/read_json.cpp": ["worst_case_test", "hf_config_test", "tokenizer_json_test", "safetensors_file_test"],
    "cli/study/npy.cpp": ["readers_test"],
    "cli/ranges.cpp": ["words_test"],
    "cli/text_input.cpp": ["words_test"],
    "src/core/threads.cpp": ["threads_test", "faults_test"],
    "src/core/processors.cpp": ["processors_test"],
    "src/core/memory/rows.cpp": ["rows_test", "bounds_capi_test", "errors_test"],
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
    (r"\bif \((?!!)(?=[^;]*\) )", "if (!"),
    (r"(?<![\w.\"])(\d{1,9})(?![\w.\"])", None),  # a number: one more
]
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


def changes_of(lines: list[str]) -> Iterator[Change]:
    for number, line in enumerate(lines, 1):
        code = code_of(line)
        if not code.strip() or line.lstrip().startswith(("#", "//", "template", "using")):
            continue
        for pattern, put in SWAPS:
            for found in re.finditer(pattern, code):
                new = str(int(found[1]) + 1) if put is None else put
                yield Change(number, line[: found.start()] + new + line[found.end() :])
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


def run(*words: object, limit: int | None = None) -> bool:
    try:
        return subprocess.run(list(map(str, words)), cwd=COPY, capture_output=True, timeout=limit, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def build(tests: list[str]) -> bool:
    return run("cmake", "--build", BUILD, "--target", *tests)


def is_seen(tests: list[str]) -> bool:
    return not all(run(BUILD / test, limit=LIMIT) for test in tests)


def try_change(name: str, change: Change, tests: list[str]) -> str:
    file = COPY / name
    before = file.read_text()
    lines = before.split("\n")
    lines[change.line - 1] = change.text
    file.write_text("\n".join(lines))
    try:
        if not build(tests):
            return "does not compile"
        return "seen" if is_seen(tests) else "NOT SEEN"
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
    if not all(build(tests) and not is_seen(tests) for tests in subjects.values()):
        sys.exit("the tests do not build or do not pass before any change")
    all_changes = [(name, one) for name in subjects for one in changes_of((COPY / name).read_text().split("\n"))]
    chosen = random.Random(given.seed).sample(all_changes, min(given.count, len(all_changes)))
    count = {"seen": 0, "NOT SEEN": 0, "does not compile": 0}
    for name, change in sorted(chosen, key=lambda pair: (pair[0], pair[1].line)):
        found = try_change(name, change, subjects[name])
        count[found] += 1
        if found == "NOT SEEN":
            print(f"{name}:{change.line}: not seen: {change.text.strip() or 'left out'}", flush=True)
    tried = count["seen"] + count["NOT SEEN"]
    print(f"{count['seen']} of {tried} changes seen, {count['does not compile']} did not compile, of {len(all_changes)} possible")
    return 1 if count["NOT SEEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
