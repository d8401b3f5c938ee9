"""The interpreter of chat templates against jinja2 on random small templates: equal byte for byte, or refused by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_chat import joined, ours, render
from text_probe import Probe, find_probe

TALK = [
    {"role": "system", "content": " Be brief.\n"},
    {"role": "user", "content": "Hello <b> 'q' \u00e9\u4e16", "tags": ["b", "A", "c"], "score": 2.5},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1, "y": [True, None]}}}]},
]
GIVEN: dict[str, Any] = {
    "text": "one two  three\n four",
    "empty": "",
    "number": 7,
    "fraction": -0.25,
    "yes": True,
    "nothing": None,
    "words": ["pear", "Apple", "fig", "apple"],
    "rows": [{"k": "b", "v": 2}, {"k": "A", "v": 1}, {"v": 3}],
    "table": {"b": 1, "a": {"c": [1, 2]}, "items": 3},
}
NAMES = [
    *GIVEN,
    "messages",
    "messages[1]",
    "messages[-1].content",
    "rows[0].k",
    "table.a",
    "table['items']",
    "missing",
    "x",
    "loop.index",
]
LITERALS = [
    "0",
    "1",
    "-1",
    "3",
    "2.5",
    "1e3",
    "'a'",
    '"it\'s"',
    "'\\n'",
    "'%s'",
    "true",
    "none",
    "[]",
    "[1, 'b', 2.0]",
    "{'k': 1}",
    "(1,)",
    "''",
]
FILTERS = [
    "upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "list", "join(', ')", "tojson", "tojson(indent=2)", "string", "int", "float",
    "round(1)", "abs", "default('d')", "default('d', true)", "replace('e', 'EE')", "reverse | list", "sort", "sort(reverse=true)", "sort(attribute='v')", "unique | list",
    "map('upper') | list", "map(attribute='k') | list", "selectattr('k') | list", "selectattr('v', 'gt', 1) | list", "rejectattr('k', 'defined') | list",
    "select('string') | list", "sum", "min", "max", "items | list", "dictsort", "indent(2)", "indent(1, true)", "batch(2) | list", "slice(2) | list",
    "wordcount", "center(9)", "e", "groupby('k') | list", "tojson(separators=(',', ':'))", "urlencode", "count", "map('length') | list",
]  # fmt: skip
TESTS = [
    "defined", "none", "string", "number", "integer", "float", "mapping", "iterable", "sequence", "boolean", "true", "false", "odd", "even", "divisibleby 2",
    "undefined", "in [1, 'a', none]", "eq 1", "gt 1", "lower", "upper", "sameas none", "callable",
]  # fmt: skip
METHODS = [
    "strip()", "split()", "split(' ', 1)", "rsplit('e')", "upper()", "title()", "startswith('o')", "endswith(('x', 'r'))", "replace('o', '0', 1)", "splitlines()",
    "get('k', 5)", "items() | list", "keys() | list", "values() | list", "count('o')", "find('t')", "index('o')", "lstrip('one ')", "rstrip()", "join(['p', 'q'])",
    "zfill(9)", "center(11, '*')", "isdigit()", "isupper()", "partition(' ')", "capitalize()", "swapcase()", "rpartition('o')", "removeprefix('one')", "format(1)",
    "append(1)", "islower()", "expand", "ljust(9)",
]  # fmt: skip
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]
SLICES = ["[0]", "[-1]", "[1:]", "[:2]", "[::-1]", "[1:-1]", "[::2]", "['k']", "[9]", ".k", ".a.c"]

atoms = st.one_of(st.sampled_from(NAMES), st.sampled_from(LITERALS), st.integers(-9, 99).map(str))


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from(FILTERS)).map(lambda p: f"({p[0]} | {p[1]})"),
        st.tuples(inner, st.sampled_from(FILTERS)).map(lambda p: f"{p[0]} | {p[1]}"),
        st.tuples(inner, st.sampled_from(["is ", "is not "]), st.sampled_from(TESTS)).map(lambda p: f"({p[0]} {p[1]}{p[2]})"),
        st.tuples(inner, st.sampled_from(METHODS)).map(lambda p: f"({p[0]}).{p[1]}"),
        st.tuples(inner, st.sampled_from(SLICES)).map(lambda p: f"({p[0]}){p[1]}"),
        st.tuples(inner, st.sampled_from(BINARY), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, st.sampled_from(BINARY), inner).map(" ".join),
        two.map(lambda p: f"({p[0]} if {p[1]} else 'no')"),
        two.map(lambda p: f"[{p[0]}, {p[1]}]"),
        two.map(lambda p: f"{{'a': {p[0]}, 'b': {p[1]}}}"),
        inner.map(lambda p: f"(not {p})"),
        inner.map(lambda p: f"-{p}"),
        inner.map(lambda p: f"dict(a={p})"),
        two.map(lambda p: f"namespace(a={p[0]}, b={p[1]}).a"),
    )


expressions = st.recursive(atoms, grow, max_leaves=4)
spaces = st.sampled_from(["", " ", "\n", "  \n  ", "a", "b\n", "\tc ", "\r\n", "\n\n"])
left, right = st.sampled_from(["{%", "{%-", "{%+", "{%"]), st.sampled_from(["%}", "-%}", "+%}", "%}"])
outputs = st.tuples(st.sampled_from(["{{", "{{-"]), expressions, st.sampled_from(["}}", "-}}"])).map(
    lambda p: f"{p[0]} {p[1]} {p[2]}"
)
comments = st.sampled_from(["{# c #}", "{#- c -#}", "{# c #}\n", "{% raw %} {{ x }} {% endraw %}", "{%- raw -%} {% {% endraw -%}"])


@st.composite
def tags(draw: st.DrawFn, *parts: str | st.SearchStrategy[str]) -> str:
    """Parts in a row: a text is a tag between braces with any signs, a strategy what stands between."""
    out = ""
    for part in parts:
        out += f"{draw(left)} {part} {draw(right)}" if isinstance(part, str) else draw(part)
    return out


def statements(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def with_expression(build: Any) -> st.SearchStrategy[str]:
        return expressions.flatmap(build)

    return st.one_of(
        st.tuples(inner, spaces, inner).map("".join),
        with_expression(lambda e: tags(f"if {e}", inner, "else", inner, "endif")),
        with_expression(lambda e: tags("if missing", inner, f"elif {e}", inner, "endif")),
        with_expression(lambda e: tags(f"for x in {e}", inner, "else", inner, "endfor")),
        with_expression(lambda e: tags(f"for x in [1, 2, 3, 4] if {e}", inner, "endfor")),
        with_expression(lambda e: tags("for x in words", f"if {e}", "continue", "endif", inner, "endfor")),
        with_expression(lambda e: tags("for x in words", inner, f"if {e}", "break", "endif", inner, "endfor")),
        with_expression(lambda e: tags("for a, b in (table | items)", f"set x = {e}", inner, "endfor")),
        with_expression(lambda e: tags(f"set x = {e}", inner)),
        with_expression(lambda e: tags(f"set x, y = {e}, 1", inner)),
        with_expression(
            lambda e: tags(f"macro m(x, y={e})", inner, "endmacro", inner).map(lambda t: t + "{{ m(2) }}{{ m(y=1, x=3) }}")
        ),
        with_expression(lambda e: tags(f"with x = {e}", inner, "endwith")),
        tags("set x", inner, "endset").map(lambda t: t + "[{{ x }}]"),
        tags("set x | trim | upper", inner, "endset").map(lambda t: t + "[{{ x }}]"),
        tags("filter trim", inner, "endfilter"),
        tags("generation", inner, "endgeneration"),
        tags("macro m(x)", st.just("<{{ caller(x) }}>"), "endmacro", "call(x) m(4)", inner, "endcall"),
        with_expression(
            lambda e: tags("set ns = namespace(n=0)", "for x in words", "set ns.n = ns.n + 1", inner, "endfor").map(
                lambda t: t + "{{ ns.n }}"
            )
        ),
    )


templates = st.recursive(st.one_of(outputs, spaces, comments), statements, max_leaves=6)


@pytest.fixture(scope="module")
def probe(build_dir: Path) -> Probe:
    return find_probe(build_dir)


# Where jinja2 depends on what it computes before a template runs, or Python on numbers of any length.
OTHER = ("more than 64 bits", "found a slice of", "to print, wanted", "marked safe")


def test_random_templates(probe: Probe) -> None:
    found: set[str] = set()

    @seed(1)
    @settings(max_examples=1000, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(templates)
    def collect(template: str) -> None:
        found.add(template)

    collect()  # one call of the probe for all: it is a process
    talk = {"messages": TALK, **GIVEN}
    some = sorted(found, key=len)  # so that the first failure is a short one
    rendered = 0
    for template, pieces in zip(some, ours(probe, [(one, talk) for one in some]), strict=True):
        if isinstance(pieces, str) and any(reason in pieces for reason in OTHER):
            continue
        assert joined(pieces) == render(template, talk), (template, pieces)
        rendered += not isinstance(pieces, str)
    assert rendered > len(some) / 4
