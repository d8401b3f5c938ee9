#!/usr/bin/env python3
"""Refuses what the house does not allow: a wrong include, a file or function over budget, a layout or estimator literal outside
src/shared, a `default:` over an enum, a machine path, a word that marks unfinished work, a document or comment that names a
missing file, a crowded folder.
Prints `path:line: rule: what was found` and exits with 1.

Usage: check_house.py [FOLDER]     (default: this checkout; only files that git tracks or would track)
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Subjects of a folder: source files of one stem are one. PEERS: folders that are one list, and of what.
MAX_SUBJECTS = 20
PEERS = {
    "tests/core": "tests of the doors",
    "tests/cpu": "tests by verb and part",
    "tests/cuda": "tests by verb and part",
    "tests/python": "tests by program",
    "tests/server": "tests by what clients ask",
    "server/api": "endpoints and fields of requests",
    "tests/python_package/hf": "tests by what a model meets",
}

MAX_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 300, 60, 6

# folder -> the folders whose headers it may include, besides its own. "std": the language's own headers in <>; "system": any <>.
# A folder below with a line of its own is another folder, unless its parent's line names the parent itself.
# The order shared <- simd <- backend <- cpu, cuda <- core <- doors is the house's; everything else sees the doors (include/qjl).
DOORS = "include"
CPU_PARTS = ("encode", "tile", "bytes", "rotate")  # named from src/cpu: "tile/key_tile.hpp"
KERNELS = (DOORS, "src/shared", "src/backend")
ENGINE = ("engine/text", "engine/chat", "engine/math", "engine/files", "engine/models", "engine/run")
BOOST_FOLDER = "server/http"  # its headers cost seconds a file
SCHEDULER = "engine/run/scheduler"  # beside the program, the server alone sees it
CORE = ("src/core", "src/core/attend", "src/core/cache", "src/core/codec", "src/core/file", "src/core/memory", "src/core/paged")
LIBRARY = ("src/shared", "src/simd", "src/backend")
BENCH = ("bench/common", "bench/exact", "bench/rivals")
BENCH_PARTS = ("common", "exact", "rivals", "kernels", "engine")
DIRECTIONS = {
    "include/qjl": ("std",),
    "src/shared": ("std", DOORS),
    "src/simd": ("std", "system", DOORS, "src/shared"),
    "src/backend": ("std", DOORS, "src/shared"),
    "src/cpu": ("std", "system", DOORS, "src/shared", "src/simd", "src/backend", "src/cpu"),
    **{f"src/cpu/{part}": ("std", "system", DOORS, "src/shared", "src/simd", "src/backend", "src/cpu") for part in CPU_PARTS},
    "src/cuda": ("std", "system", *KERNELS, "src/cuda/device", "src/cuda/encode", "src/cuda/fragments"),
    "src/cuda/device": ("std", "system", *KERNELS),
    "src/cuda/encode": ("std", "system", *KERNELS, "src/cuda/device"),
    "src/cuda/fragments": ("std", "system", *KERNELS, "src/cuda/device", "src/cuda"),
    **dict.fromkeys(CORE, ("std", "system", DOORS, *LIBRARY, "src/cpu", "src/cuda", *CORE)),
    "src/capi": ("std", DOORS),
    "engine/text": ("std", "system", DOORS),
    "engine/text/jinja": ("std", "system", DOORS, "engine/text", "engine/text/jinja"),
    "engine/text/jinja/builtins": ("std", "system", DOORS, "engine/text", "engine/text/jinja"),
    "engine/chat": ("std", "system", DOORS, "engine/text"),
    "engine/math": ("std", "system", DOORS, "src/simd"),
    "engine/files": ("std", "system", DOORS, "engine/text", "engine/math"),
    "engine/models": ("std", "system", DOORS, "engine/text", "engine/math", "engine/files"),
    "engine/run": ("std", "system", DOORS, *ENGINE),
    SCHEDULER: ("std", "system", DOORS, *ENGINE),
    "study": ("std", "system", DOORS, "src/shared", *ENGINE, "study/rivals"),
    "study/rivals": ("std", "system", DOORS, *ENGINE, "study"),
    "cli": ("std", "system", DOORS, *ENGINE),
    "cli/main.cpp": ("std", "system", DOORS, *ENGINE, SCHEDULER, "server/grammar", "cli/study"),  # where product and research meet
    "cli/study": ("std", "system", DOORS, *ENGINE, "study", "study/rivals", "cli"),
    "server/http": ("std", "system", DOORS),
    "server/text": ("std", "system", DOORS, "engine/text", "engine/run", SCHEDULER),
    "server/grammar": ("std", "system", DOORS, "engine/text", "engine/run", SCHEDULER),
    "server/api": ("std", "system", DOORS, *ENGINE, SCHEDULER, "server/http", "server/text", "server/grammar"),
    "cli/serve.cpp": ("std", "system", DOORS, *ENGINE, SCHEDULER, "server/http", "server/text", "server/grammar", "server/api"),
    "python/core": ("std", "system", DOORS),
    **{f"bench/{part}": ("std", "system", DOORS, *LIBRARY, *ENGINE, *BENCH) for part in BENCH_PARTS},
    "bench/gpu": ("std", "system", DOORS, *LIBRARY, "src/cuda/device", "src/cuda/fragments"),
    "tools/format_doc": ("std", "system", DOORS, "src/shared", *CORE),
}
FREE = ("tests/", "fuzz/", "examples/")  # may see everything
ORACLE = re.compile(r"tests/oracle/oracle\w*\.hpp")

# Numbers that only src/shared may write: sqrt(pi/2), sqrt(2/pi), log2(e), the scale step, rows of a group, tokens of a page.
# Checked in src/ alone: in engine and cli 32 and 128 are block sizes of weight formats, chunk lengths or buffer sizes, and tests
# are meant to hold their own opinion of every number.
LITERALS = (r"\b1\.2533\d*", r"\b0?\.7978\d*", r"\b1\.4426\d*", r"/\s*32\b(?!\.)", r">>\s*5\b", r"(?<![\w.])128\b(?![.\w])")

# Written in two halves so that this file passes its own check.
MACHINE_PATHS = re.compile("|".join(("/ho" + r"me/\w", "/ro" + r"ot/\w", "/t" + r"mp/\w", "/wo" + r"rk/\w", "/m" + r"nt/\w")))
UNFINISHED = re.compile("|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b", r"\bHA" + r"CK\b")))

# A file name in a comment, and files of other projects that comments cite.
NAMED_FILE = re.compile(r"(?<![\w./*<>-])((?:[\w-]+/)*[\w-]+\.(?:cpp|hpp|h|cu|cuh|py|md|sh|json))\b(?![\w(])")
OTHERS_FILES = ("llama.cpp", "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "ggml-org/llama.cpp", "ggml.h", "ggml-common.h", "dlpack.h", "quant/new_pack.py",
                "models/llama3_utils_qjl.py", "run_longbench.py")  # fmt: skip

CPP = {".cpp", ".hpp", ".h", ".c", ".cu", ".cuh"}
CODE = CPP | {".py", ".sh", ".cmake"}
TEXT = CODE | {".md", ".txt", ".toml", ".json", ".yaml", ".yml", ""}
SHIPPED_TEXTS = "examples/texts/"

COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>\w*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.DOTALL
)
# At the start of a line: a macro that opens a target region may stand before it.
NOT_A_FUNCTION = re.compile(r"^\s*(?:inline\s+|template\s*<.*>\s*)?(?:namespace|class|struct|union|enum)\b", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    path: str
    line: int
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.found}"


def is_test(path: str) -> bool:
    return path.startswith(("tests/", "fuzz/"))


def strip_cpp(text: str) -> str:
    """The code without comments and with empty strings; every line keeps its number."""

    def blank(match: re.Match[str]) -> str:
        newlines = "\n" * match[0].count("\n")
        return newlines if match[0].startswith("/") else '""' + newlines

    return COMMENT_OR_STRING.sub(blank, text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def check_includes(path: str, text: str, files: set[str]) -> Iterator[Fault]:
    folder = path.rsplit("/", 1)[0] if "/" in path else ""
    allowed = ("std",) if ORACLE.fullmatch(path) else DIRECTIONS.get(path, DIRECTIONS.get(folder))
    if allowed is None:
        if not path.startswith(FREE):
            yield Fault(path, 1, "direction", f"no line in DIRECTIONS says what {folder or 'this file'} may include")
        return
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.MULTILINE):
        bracket, name = match[1], match[2]
        if bracket == "<":
            fine = "system" in allowed or re.fullmatch(r"[a-z_0-9]+|std\w+\.h", name)
            fine = fine and (folder == BOOST_FOLDER or not name.startswith("boost/"))
        elif ORACLE.fullmatch(path):
            fine = ORACLE.fullmatch(f"tests/oracle/{name}")
        else:
            own = "include" if folder == "include/qjl" else folder
            below = f"{own}/{name}".rsplit("/", 1)[0]  # a folder below ours, which may have a line of its own
            places = allowed if below != folder and below in DIRECTIONS else (own, *allowed)
            fine = ".." not in name and any(f"{place}/{name}" in files for place in places)
        if not fine:
            yield Fault(path, line_of(text, match.start()), "direction", f"{folder or 'this file'} may not include {name}")


def check_length(path: str, text: str) -> Iterator[Fault]:
    lines, budget = text.count("\n"), MAX_TEST_LINES if is_test(path) else MAX_LINES
    if lines > budget:
        yield Fault(path, lines, "budget", f"file of {lines} lines, at most {budget}")


def count_parameters(head: str) -> int:
    """Parameters of a function head that ends before its body: top-level commas of its first top-level parenthesis."""
    depth, angle, count, inside = 0, 0, 0, ""
    for i, char in enumerate(head):
        if char == "<":
            angle += 1
        elif char == ">" and head[i - 1] != "-":
            angle -= 1
        elif char in "([{":
            depth += 1
            continue
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                break
        if depth == 1 and char == "," and angle <= 0:
            count += 1
        if depth >= 1:
            inside += char
    return count + 1 if inside.strip() else 0


def cpp_bodies(code: str) -> Iterator[tuple[str, int, int]]:
    """(head, first line, last line) of every outermost block that is no namespace, class or enum: functions, mostly."""
    depth_of_function, depth, start = None, 0, 0
    first = head = None
    for match in re.finditer(r"[{};]|^[ \t]*#[^\n]*(?:\\\n[^\n]*)*", code, re.MULTILINE):
        char = match[0]
        if char == "{":
            text = code[start : match.start()]
            if depth_of_function is None and "(" in text and not NOT_A_FUNCTION.search(text):
                depth_of_function, head = depth, text
                first = line_of(code, start + len(text) - len(text.lstrip()))
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == depth_of_function:
                yield head, first, line_of(code, match.start())
                depth_of_function = None
        if depth_of_function is None:
            start = match.end()


def check_cpp_functions(path: str, code: str) -> Iterator[Fault]:
    for head, first, last in cpp_bodies(code):
        name = " ".join(head.split())[:60]
        if last - first + 1 > MAX_FUNCTION_LINES:
            yield Fault(path, first, "budget", f"function of {last - first + 1} lines, at most {MAX_FUNCTION_LINES}: {name}")
        if count_parameters(head) > MAX_PARAMETERS:
            yield Fault(path, first, "budget", f"function of {count_parameters(head)} parameters, at most {MAX_PARAMETERS}: {name}")


def check_python_functions(path: str, text: str) -> Iterator[Fault]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield Fault(path, node.lineno, "budget", f"function of {lines} lines, at most {MAX_FUNCTION_LINES}: {node.name}")


def check_literals(path: str, code: str) -> Iterator[Fault]:
    if not path.startswith("src/") or path.startswith("src/shared/"):
        return
    for pattern in LITERALS:
        for match in re.finditer(pattern, code):
            yield Fault(path, line_of(code, match.start()), "literal", f"{match[0]} belongs in src/shared")


ENUMERATOR = re.compile(r"(?:\w+::)+(?!k[A-Z])\w+|(?!k[A-Z])[a-z]\w*")  # scoped, or by `using enum`; kName is a constant


def switch_labels(code: str) -> Iterator[tuple[int, list[str]]]:
    """(offset of the `default`, names of the cases) of every switch that has a default; a nested switch keeps its labels to itself."""
    open_switches: list[tuple[int, list[str], list[int]]] = []  # depth of the body, cases, defaults
    depth, expects_body = 0, False
    for match in re.finditer(r"\bswitch\b|\bcase\s+([^;{}]*?)\s*(?<!:):(?!:)|\bdefault\s*:|[{}]", code):
        text = match[0]
        if text == "switch":
            expects_body = True
        elif text == "{":
            depth += 1
            if expects_body:
                open_switches.append((depth, [], []))
                expects_body = False
        elif text == "}":
            if open_switches and open_switches[-1][0] == depth:
                _, cases, defaults = open_switches.pop()
                for offset in defaults:
                    yield offset, cases
            depth -= 1
        elif open_switches:
            if text.startswith("case"):
                open_switches[-1][1].append(match[1])
            else:
                open_switches[-1][2].append(match.start())


def check_switches(path: str, code: str) -> Iterator[Fault]:
    """A switch over an enum of ours names every case, so that a new one does not compile where it is forgotten."""
    if is_test(path):
        return
    for offset, cases in switch_labels(code):
        names = [case for case in cases if ENUMERATOR.fullmatch(case)]
        if names:
            yield Fault(path, line_of(code, offset), "default", f"a switch with `case {names[0]}` may not have a default")


def check_words(path: str, text: str) -> Iterator[Fault]:
    if path.startswith(SHIPPED_TEXTS):
        return
    for rule, pattern in (("machine path", MACHINE_PATHS), ("unfinished", UNFINISHED)):
        for match in pattern.finditer(text):
            yield Fault(path, line_of(text, match.start()), rule, match[0])


def check_opening(path: str, text: str) -> Iterator[Fault]:
    """A file says what it is before anything else."""
    if Path(path).suffix in {".hpp", ".cuh", ".cu", ".cpp"} and not text.startswith("//"):
        yield Fault(path, 1, "opening", "a file opens with a comment that says what it computes or does")


def check_named_files(path: str, text: str, files: set[str]) -> Iterator[Fault]:
    """A file that the documents name is there."""
    if path != "README.md" and not path.startswith("docs/"):
        return
    for match in re.finditer(r"`([\w.]+(?:/[\w.]+)+\.\w+)`", text):
        if Path(match[1]).suffix in CODE and not Path(match[1]).stem.startswith("verb") and match[1] not in files:
            yield Fault(path, line_of(text, match.start()), "missing file", match[1])


def check_comments(path: str, text: str, files: set[str]) -> Iterator[Fault]:
    """A file that a comment names is there, by its name or by the end of its path."""
    comment = r"//[^\n]*" if Path(path).suffix in CPP else r"(?:^|(?<=\s))#[^\n]*"
    for match in re.finditer(comment, text, re.MULTILINE):
        for name in NAMED_FILE.findall(match[0]):
            known = name in files or any(file.endswith("/" + name) for file in files)
            if not known and name not in OTHERS_FILES:
                yield Fault(path, line_of(text, match.start()), "missing file", name)


def check_subjects(files: set[str]) -> Iterator[Fault]:
    """A folder holds about twenty subjects, unless they are peers of one list."""
    subjects: dict[str, set[str]] = {}
    for file in files:
        if Path(file).suffix in CODE:
            subjects.setdefault(str(Path(file).parent), set()).add(Path(file).stem)
    for folder, stems in sorted(subjects.items()):
        if len(stems) > MAX_SUBJECTS and folder not in PEERS:
            yield Fault(folder, 1, "crowded", f"{len(stems)} subjects, at most {MAX_SUBJECTS}")


def check_file(path: str, text: str, files: set[str]) -> Iterator[Fault]:
    suffix = Path(path).suffix
    yield from check_words(path, text)
    yield from check_named_files(path, text, files)
    yield from check_opening(path, text)
    if suffix in CODE or Path(path).name in {"dev", "CMakeLists.txt"}:
        yield from check_length(path, text)
        yield from check_comments(path, text, files)
    if suffix in CPP:
        code = strip_cpp(text)
        yield from check_includes(path, text, files)
        yield from check_literals(path, code)
        yield from check_switches(path, code)
        yield from check_cpp_functions(path, code)
    if suffix == ".py":
        yield from check_python_functions(path, text)


def check_tree(root: Path) -> list[Fault]:
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
        text=True,
    )
    files = {name for name in listing.stdout.split("\0") if name and (root / name).is_file()}
    faults = list(check_subjects(files))
    for path in sorted(files):
        if Path(path).suffix in TEXT:
            faults += check_file(path, (root / path).read_text(encoding="utf-8"), files)
    return faults


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    faults = check_tree(root)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
