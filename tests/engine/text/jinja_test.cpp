// The interpreter of chat templates: values as Python writes them, white space, the origin of every byte, errors with their line.
// That any template ends soon: jinja_bounds_test.cpp. Larger ones are compared with jinja2 in tests/python/test_chat.py and
// test_jinja_random.py.
#include "jinja_render.hpp"

namespace {

using namespace qjl::engine::jinja;

TEST(Jinja, ValuesAsPythonWritesThem) {
  EXPECT_EQ(text("{{ [1, 2.0, 'a\\'b', none, true, {'k': (1,)}, 1e16, 1e-5, -0.0] }}"),
            "[1, 2.0, \"a'b\", None, True, {'k': (1,)}, 1e+16, 1e-05, -0.0]");
  EXPECT_EQ(text("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }}"),
            "3 -4 2 3.5 1024 0.5 3.0");
  EXPECT_EQ(text("{{ 'abc'[::-1] }} {{ 'hé'[1] }} {{ [1, 2, 3][-2:] }} {{ 'a' * 3 }} {{ 1 < 2 < 3 }}"), "cba é [2, 3] aaa True");
  EXPECT_EQ(text("{{ '%s has %05.1f%%' % ('a', 2.25) }} {{ '{} {0} {n}'.format(1, n='x') }}"), "a has 002.2% 1 1 x");
  EXPECT_EQ(text("{{ {'b': [1, {}], 'a': 'é\\u2028<'} | tojson(indent=1) }}"),
            "{\n \"b\": [\n  1,\n  {}\n ],\n \"a\": \"é\u2028<\"\n}");
  EXPECT_EQ(text("{{ strftime_now('%Y-%m-%d') }}"), "2025-01-04");
}

TEST(Jinja, WhiteSpaceAsTheEnvironmentHasIt) {
  EXPECT_EQ(text("a\n  {% if true %}\n  b\n  {%- endif %}\nc\n"), "a\n  bc");
  EXPECT_EQ(text("  {%+ if true +%}\nx{% endif %}{# c #}\n\n"), "  \nx");
  EXPECT_EQ(text("  {% if true %}\n  x  {# c #} {% endif %}\n  y"), "  x     y");
  EXPECT_EQ(text("{% raw -%}  {{ x }}\n{%- endraw %}\ny"), "{{ x }}y");
  EXPECT_EQ(text("x {{- 1 -}} \n y\r\n"), "x1y");
}

TEST(Jinja, EveryByteKeepsItsOrigin) {
  EXPECT_EQ(marked("a{{ x }}b"), "a<ab CD>b");
  EXPECT_EQ(marked("{{ '[' + x[1:4] + ']' }}"), "[<b C>]");
  EXPECT_EQ(marked("{{ x | upper | replace('B', '-') }}"), "<A>-< CD>");
  EXPECT_EQ(marked("{{ x.split() | join('+') }}"), "<ab>+<CD>");
  EXPECT_EQ(marked("{{ '%s:%d' % (x, 3) }}|{{ x.format() }}|{{ '{}!'.format(x) }}"), "<ab CD>:3|<ab CD>|<ab CD>!");
  EXPECT_EQ(marked("{{ d | tojson }}"), "{\"<k\\\">\": \"<v\\n>\"}");
  EXPECT_EQ(marked("{{ [x] }}"), "['<ab CD>']");
  EXPECT_EQ(marked("{% for k, v in d.items() %}{{ k ~ '=' ~ v }}{% endfor %}"), "<k\">=<v\n>");
  EXPECT_EQ(marked("{% set y %}({{ x }}){% endset %}{{ y.strip('()') }}{% filter indent %}{{ '\\n' }}{{ x }}{% endfilter %}"),
            "<ab CD>\n    <ab CD>");
  EXPECT_EQ(marked("{% macro m(t) %}[{{ t }}]{% endmacro %}{{ m(x) | e }}{{ x | center(7) }}{{ x[:2:-1] }}"),
            "[<ab CD>] <ab CD> <DC>");
}

TEST(Jinja, ErrorsNameLineFoundAndWanted) {
  EXPECT_REFUSED("a\n{% if x %}\nb", "line 3: found the end of the template in what began in line 2, wanted elif or else or endif");
  EXPECT_REFUSED("\n{{ 1 + }}", "line 2: found }}, wanted an expression");
  EXPECT_REFUSED("{% endfor %}", "found 'endfor', wanted one of if, for");
  EXPECT_REFUSED("{% include 'x' %}", "found the statement 'include'");
  EXPECT_REFUSED("{{ 'a", "line 1: found a string without an end, wanted '");
  EXPECT_REFUSED("{{ (1] }}", "found ']', wanted )");
  EXPECT_REFUSED("{# ", "found a comment without an end, wanted #}");
  EXPECT_REFUSED("{% break %}", "wanted it inside of a loop");
  EXPECT_REFUSED("\n\n{{ x.y }}", "line 3: 'x' is undefined");
  EXPECT_REFUSED("{{ {}.y.z }}", "'dict object' has no attribute 'y'");
  EXPECT_REFUSED("{{ 1 + 'a' }}", "found int + str");
  EXPECT_REFUSED("{{ 1 | nosuch }}", "the filter `nosuch`");
  EXPECT_REFUSED("{{ 1 is nosuch }}", "the test `nosuch`");
  EXPECT_REFUSED("{{ [].append(1) }}", "templates change namespaces alone");
  EXPECT_REFUSED("{{ raise_exception('No.') }}", "the template refuses: No.");
  EXPECT_REFUSED("{{ range }}", "found a function range to print");
  EXPECT_REFUSED("{{ 9223372036854775807 + 1 }}", "more than 64 bits");
  EXPECT_REFUSED("{{ ''.join([1]) }}", "`join` found a int in the list, wanted texts");
  EXPECT_REFUSED("{{ 'a'.split(1, 2, 3) }}", "`split` found 3 arguments, wanted at most 2");
  EXPECT_REFUSED("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "the macro m found 2 arguments, wanted at most 1");
}

TEST(Jinja, ALoopOutlivesItsItems) {
  const std::string kept = "{% set ns = namespace() %}{% for x in ['aa', 'bb'] %}{% set ns.l = loop %}{% endfor %}";
  EXPECT_EQ(text(kept + "{{ ns.l.previtem }} {{ ns.l.nextitem is defined }}"), "aa False");
  EXPECT_EQ(text(kept + "{{ ns.l.last }} {{ ns.l.length }} {{ ns.l.index }} {{ ns.l.revindex }} {{ ns.l.revindex0 }}"),
            "True 2 2 1 0");
}

// What names an argument or shapes a text may be of others too.
TEST(Jinja, ArgumentsKeepTheirOrigin) {
  EXPECT_EQ(marked("{{ dict(**d) | tojson }}"), "{\"<k\\\">\": \"<v\\n>\"}");
  EXPECT_EQ(marked("{{ dict(a=1, **d) | list | first }}{{ dict(**d) | list | first }}"), "a<k\">");
  EXPECT_EQ(marked("{% macro m() %}{{ kwargs | list | join }}{% endmacro %}{{ m(**d) }}"), "<k\">");
  EXPECT_EQ(marked("{{ strftime_now(x) }}|{{ strftime_now('%Y') }}"), "<ab CD>|2025");
  EXPECT_EQ(marked("{{ [1, 2] | tojson(indent=x) }}"), "[\n<ab CD>1,\n<ab CD>2\n]");
  EXPECT_EQ(marked("{{ {1: 2, 3: 4} | tojson(separators=(x, x)) }}"), "{\"1\"<ab CD>2<ab CD>\"3\"<ab CD>4}");
  EXPECT_EQ(marked("{{ p % 7 }}|{{ '%%' % () }}"), "<%   7>|%");
}

TEST(Jinja, RoundsAsPython) {
  EXPECT_EQ(text("{{ 5 | round(-400) }} {{ 5.5 | round(-400) }} {{ 15 | round(-1) }} {{ 25 | round(-1) }} {{ -26 | round(-1) }}"),
            "0 0.0 20 20 -30");
  EXPECT_EQ(text("{{ 1234567890123456789 | round(-1) }} {{ 9223372036854775807 | round(-20) }}"), "1234567890123456790 0");
  EXPECT_EQ(text("{{ 5 | round(400, 'ceil') }} {{ 1.25 | round(1, 'floor') }}"), "5.0 1.2");
  EXPECT_REFUSED("{{ 9223372036854775807 | round(-19) }}", "more than 64 bits");
  EXPECT_REFUSED("{{ 5 | round(-400, 'ceil') }}", "division by zero");
  EXPECT_REFUSED("{{ 1e300 | round(300, 'ceil') }}", "no double holds");
}

TEST(Jinja, CountsOf64Bits) {
  const std::string least = "(-9223372036854775807 - 1)";
  EXPECT_EQ(text("{{ 'a'.center(" + least + ") }}{{ 'a'.ljust(" + least + ") }}{{ 'a'.zfill(" + least + ") }}"), "aaa");
  EXPECT_EQ(text("{{ 'a' | center(" + least + ") }}"), "a");
  EXPECT_EQ(text("{{ 'a b'.split(none, " + least + ") }}{{ 'a,b'.rsplit(',', " + least + ") }}"), "['a', 'b']['a', 'b']");
  EXPECT_EQ(text("{{ 'aa'.replace('a', 'b', " + least + ") }}{{ 'aa' | replace('', '-', " + least + ") }}"), "bb-a-a-");
}

TEST(Jinja, CharactersOfPercentC) {
  EXPECT_EQ(text("{{ '%c%3c|%-3c|' % (65, 'é', 8364) }}"), "A  é|€  |");
  EXPECT_REFUSED("{{ '%c' % 'ab' }}", "wanted one character");
  EXPECT_REFUSED("{{ '%c' % 1114112 }}", "wanted one character");
  EXPECT_REFUSED("{{ '%c' % 55296 }}", "wanted one character");
}

TEST(Jinja, PartsAreFoundFromBothEnds) {
  const std::string hay = "{% set part = 'abcdefghijklmnopqrst' %}{% set t = 'x' * 50 + part + 'y' * 100 + part + 'z' * 9 %}";
  EXPECT_EQ(text(hay + "{{ t.find(part) }} {{ t.rfind(part) }} {{ t.count(part) }} {{ part in t }} {{ t.rfind(part + '-') }}"),
            "50 170 2 True -1");
  EXPECT_EQ(text(hay + "{{ t.split(part) == t.rsplit(part) }} {{ t.rsplit(part, 1)[0] | length }} {{ t.rpartition(part)[2] }}"),
            "True 170 zzzzzzzzz");
  EXPECT_EQ(text("{{ 'éaéxéa'.strip('aé') }}{{ 'xax' | trim('x') }}"), "xa");
}

TEST(Jinja, AsciiJsonEscapesDel) { EXPECT_EQ(text("{{ '\\x7f\\x7e' | tojson(ensure_ascii=true) }}"), "\"\\u007f~\""); }

TEST(Jinja, TextsMarkedSafeEscapeWhatIsAdded) {
  EXPECT_EQ(text("{{ '<'|safe + '<' }}{{ '<' + '>'|e }}{{ ('<'|safe).upper() + '&' }}{{ '<'|safe ~ '<' }}"),
            "<&lt;&lt;&gt;<&amp;<<");
  EXPECT_REFUSED("{{ ('a'|safe).replace('a', '<') }}", "marked safe");
}

}  // namespace
