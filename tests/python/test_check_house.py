"""tools/check_house.py refuses each fault that it names, and passes a clean file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check_house  # noqa: E402

FILES = {
    "include/qjl/types.hpp",
    "src/shared/page.hpp",
    "src/backend/args.hpp",
    "src/simd/lanes.hpp",
    "src/core/cache/pool.hpp",
    "engine/text/jinja/template.hpp",
    "engine/run/model.hpp",
    "study/rivals/rival.hpp",
    "cli/study/verbs.hpp",
    "tests/oracle/oracle.hpp",
    "tests/oracle/oracle_page.hpp",
}


def rules(path: str, text: str) -> list[str]:
    """What is refused of a file that begins with this text, or with an opening before it where it lacks one."""
    opening = "" if text.startswith("//") or not path.endswith((".cpp", ".hpp")) else "// A file.\n"
    return [fault.rule for fault in check_house.check_file(path, opening + text, FILES)]


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("src/shared/a.hpp", '"args.hpp"'),
        ("src/backend/a.hpp", '"lanes.hpp"'),
        ("src/cpu/a.cpp", '"pool.hpp"'),
        ("src/cpu/a.cpp", '"../core/pool.hpp"'),
        ("src/capi/a.cpp", '"pool.hpp"'),
        ("src/capi/a.cpp", '"page.hpp"'),
        ("engine/run/a.cpp", '"page.hpp"'),
        ("engine/run/a.cpp", '"src/shared/page.hpp"'),
        ("cli/a.cpp", '"args.hpp"'),
        ("cli/a.cpp", '"verbs.hpp"'),
        ("engine/run/a.cpp", '"rival.hpp"'),
        ("engine/text/a.cpp", '"model.hpp"'),
        ("engine/text/a.cpp", '"jinja/template.hpp"'),
        ("include/qjl/a.hpp", '"page.hpp"'),
        ("include/qjl/a.hpp", "<nlohmann/json.hpp>"),
        ("server/http/a.cpp", '"page.hpp"'),
        ("server/http/a.cpp", '"model.hpp"'),
        ("server/api/a.cpp", '"rival.hpp"'),
        ("server/api/a.cpp", "<boost/asio.hpp>"),
        ("cli/serve.cpp", "<boost/asio.hpp>"),
        ("python/a.cpp", '"model.hpp"'),
        ("bench/kernels/a.cpp", '"pool.hpp"'),
        ("tools/format_doc/a.cpp", '"model.hpp"'),
        ("tests/oracle/oracle.hpp", '"qjl/types.hpp"'),
    ],
)
def test_wrong_direction(path: str, include: str) -> None:
    assert rules(path, f"// A file.\n#include {include}\n") == ["direction"]


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("src/backend/a.hpp", '"page.hpp"'),
        ("src/cpu/a.cpp", '"args.hpp"'),
        ("src/core/a.cpp", '"lanes.hpp"'),
        ("src/core/a.cpp", "<sys/mman.h>"),
        ("engine/run/a.cpp", '"qjl/types.hpp"'),
        ("engine/chat/a.cpp", '"jinja/template.hpp"'),
        ("cli/a.cpp", '"model.hpp"'),
        ("cli/main.cpp", '"verbs.hpp"'),
        ("study/a.cpp", '"model.hpp"'),
        ("server/api/a.cpp", '"model.hpp"'),
        ("server/http/a.cpp", "<boost/asio.hpp>"),
        ("bench/kernels/a.cpp", '"page.hpp"'),
        ("bench/engine/a.cpp", '"model.hpp"'),
        ("tools/format_doc/a.cpp", '"pool.hpp"'),
        ("fuzz/a.cpp", '"pool.hpp"'),
        ("include/qjl/a.hpp", '"qjl/types.hpp"'),
        ("include/qjl/a.h", "<stdint.h>"),
        ("include/qjl/a.hpp", "<vector>"),
        ("tests/oracle/oracle.hpp", '"oracle_page.hpp"'),
    ],
)
def test_right_direction(path: str, include: str) -> None:
    assert rules(path, f"// A file.\n#include {include}\n") == []


@pytest.mark.parametrize("path", ["engine/new/a.cpp", "src/metal/a.cpp", "a.cpp"])
def test_new_folder_needs_its_line(path: str) -> None:
    assert rules(path, "// A file.\n") == ["direction"]


@pytest.mark.parametrize("literal", ["1.2533141f", "0.7978845", "1.44269504f", "x / 32", "x >> 5", "128", "t < 128;"])
def test_literal_outside_shared(literal: str) -> None:
    line = f"int f(int x) {{ return {literal}; }}\n"
    assert "literal" in rules("src/cpu/a.cpp", line)
    assert rules("src/shared/a.cpp", line) == []
    assert rules("engine/run/a.cpp", line) == []
    assert rules("src/cpu/a.cpp", f'// {literal}\nconst char* text = "{literal}";\n') == []


@pytest.mark.parametrize("code", ["__m128i a;", "x / 320;", "x >> 56;", "1128;", "int x_128;", "x / 32.5f;", "0x128;"])
def test_literals_that_only_look_alike(code: str) -> None:
    assert rules("src/cpu/a.cpp", code + "\n") == []


def switch(cases: str) -> str:
    return f"int f(Code code) {{\n  switch (code) {{\n    {cases}\n  }}\n  return 0;\n}}\n"


@pytest.mark.parametrize(
    "cases",
    [
        "case Code::s1: return 1;\n    default: return 0;",
        "case qjl::Code::s1:\n    case qjl::Code::s2: {\n      return 1;\n    }\n    default: break;",
        "case s1: return 1;\n    default: return 0;",
        "default: return 0;\n    case s1: return 1;",
        "case Code::s1: switch (f(s2)) { case 1: return 1; }\n    default: return 0;",
        "case 1: switch (code) { case Code::s1: return 1; default: return 2; }\n    default: return 0;",
    ],
)
def test_default_over_an_enum(cases: str) -> None:
    for path in ("src/core/a.cpp", "engine/run/a.cpp", "src/cuda/a.cuh"):
        assert rules(path, "// A file.\n" + switch(cases)) == ["default"]


@pytest.mark.parametrize(
    "cases",
    [
        "case Code::s1: return 1;\n    case Code::s2: return 2;",
        "case 1: return 1;\n    default: return 0;",
        "case kSmall: return 1;\n    case layout::kLarge: return 2;\n    default: return 0;",
        "case QJL_F32: return 1;\n    default: return 0;",
        "case 'a': return 1;\n    default: return 0;",
        "case 1: switch (code) { case Code::s1: return 1; }\n    default: return 0;",
        "case Code::s1: return 1;  // default: none",
    ],
)
def test_switches_that_may_stand(cases: str) -> None:
    assert rules("src/core/a.cpp", "// A file.\n" + switch(cases)) == []


def test_long_file() -> None:
    assert rules("src/cpu/a.cpp", "int x;\n" * 399) == []
    assert rules("src/cpu/a.cpp", "int x;\n" * 400) == ["budget"]
    assert rules("tests/cpu/a_test.cpp", "int x;\n" * 300) == ["budget"]


@pytest.mark.parametrize(
    "opening", ["namespace a {{\n{}\n}}\n", "class A {{\n{}\n}};\n", "REGION(x)\nnamespace b {{\n{}\n}}\n", "{}\n"]
)
def test_long_function(opening: str) -> None:
    def text(lines: int) -> str:
        return opening.format("void f() {\n" + "  g();\n" * (lines - 2) + "}")

    assert rules("engine/run/a.cpp", text(60)) == []
    assert rules("engine/run/a.cpp", text(61)) == ["budget"]


def test_many_short_functions_are_not_one_long_one() -> None:
    assert rules("engine/run/a.cpp", "namespace a {\n" + "void f() {\n  g('{');\n}\n" * 90 + "}\n") == []


def test_parameters() -> None:
    seven = ", ".join(f"std::map<int, int> {name}" for name in "abcdefg")
    assert rules("engine/run/a.cpp", f"void f({seven}) {{}}\n") == ["budget"]
    assert rules("engine/run/a.cpp", f"void f({seven.rsplit(',', 2)[0]}) {{}}\n") == []


def test_long_python_function() -> None:
    assert rules("tools/a.py", "def f():\n" + "    g()\n" * 60) == ["budget"]
    assert rules("tools/a.py", "def f():\n" + "    g()\n" * 59) == []


@pytest.mark.parametrize("words", [("ho", "me/someone"), ("t", "mp/x"), ("ro", "ot/x")])
def test_machine_path(words: tuple[str, str]) -> None:
    assert rules("docs/a.md", f"see /{words[0]}{words[1]}\n") == ["machine path"]


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "XX" + "X"])
def test_unfinished(word: str) -> None:
    assert rules("engine/run/a.cpp", f"// {word}: later\n") == ["unfinished"]


@pytest.mark.parametrize("suffix", ["hpp", "cpp", "cu", "cuh"])
def test_file_without_opening(suffix: str) -> None:
    assert "opening" in {fault.rule for fault in check_house.check_file(f"engine/run/a.{suffix}", "int a;\n", FILES)}


def test_comments_name_files_that_exist() -> None:
    assert rules("src/cpu/a.cpp", "// pool.hpp and cache/pool.hpp say why; llama.cpp does too.\n") == []
    assert rules("src/cpu/a.cpp", "int a;  // lake.hpp says why\n") == ["missing file"]
    assert rules("src/cpu/a.cpp", "// core/args.hpp\n") == ["missing file"]
    assert rules("src/cpu/a.cpp", "// every *_lake.hpp and lake_<target>.hpp\n") == []
    for path in ("tools/a.py", "tools/a.sh", "tests/CMakeLists.txt", "dev"):
        assert rules(path, "# pool.hpp says why\n") == []
        assert rules(path, "a = 1  # lake" + ".hpp says why\n") == ["missing file"]


def test_crowded_folder() -> None:
    def faults(folder: str, count: int) -> list[str]:
        return [
            fault.rule for fault in check_house.check_subjects({f"{folder}/a{i}.{s}" for i in range(count) for s in ("cpp", "hpp")})
        ]

    assert faults("engine/run", 20) == []
    assert faults("engine/run", 21) == ["crowded"]
    assert faults("tests/python", 21) == []


def test_documents_name_files_that_exist() -> None:
    assert rules("docs/a.md", "see `src/core/cache/pool.hpp` and `pool.cpp`\n") == []
    assert rules("docs/a.md", "see `src/core/lake.hpp`\n") == ["missing file"]


def test_faults_name_their_place() -> None:
    faults = list(check_house.check_file("src/cpu/a.cpp", "// A file.\nint a;\n/* two\nlines */\nint b = 128;\n", FILES))
    assert [str(fault) for fault in faults] == ["src/cpu/a.cpp:5: literal: 128 belongs in src/shared"]


def test_this_checkout_is_clean() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the rules read git's list of files, and this copy has no .git")
    assert [str(fault) for fault in check_house.check_tree(ROOT)] == []
