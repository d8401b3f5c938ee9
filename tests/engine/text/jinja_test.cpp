// The interpreter of chat templates: values as Python writes them, white space, the origin of every byte, errors with their line,
// and that any template ends soon. Larger ones are compared with jinja2 in tests/python/test_chat.py and test_jinja_random.py.
#include <gtest/gtest.h>

#include <ctime>

#include "jinja/interpreter.hpp"
#include "jinja/parser.hpp"
#include "jinja/template.hpp"
#include "qjl/error.hpp"

namespace {

using namespace qjl::engine::jinja;

OriginText render(std::string_view source, const Dict& given = {}) {
  std::tm now{};
  now.tm_year = 125;
  now.tm_mday = 4;
  return Template(source).render(given, now);
}

std::string text(std::string_view source) { return render(source).bytes(); }

// The words of others stand in <>.
std::string marked(std::string_view source) {
  Dict given;
  given.set(Value::text("x"), Value::text("ab CD", Origin::words));
  Dict row;
  row.set(Value::text("k\"", Origin::words), Value::text("v\n", Origin::words));
  given.set(Value::text("d"), Value::dict(row));
  const OriginText out = render(source, given);
  std::string shown;
  std::size_t begin = 0;
  for (const auto& stretch : out.stretches()) {
    const std::string part = out.bytes().substr(begin, stretch.end - begin);
    shown += stretch.origin == Origin::words ? "<" + part + ">" : part;
    begin = stretch.end;
  }
  return shown;
}

std::string refusal(const std::string& source) {
  try {
    render(source);
  } catch (const qjl::Error& error) {
    return error.what();
  }
  return "";
}

#define EXPECT_REFUSED(source, part) EXPECT_NE(refusal(source).find(part), std::string::npos) << refusal(source)

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

// Of this process, whatever else the machine does.
double seconds_since(std::clock_t start) { return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC; }

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
constexpr double kMegabyteSeconds = 20;
#else
constexpr double kMegabyteSeconds = 1;
#endif

std::string repeat(const char* part, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += part;
  return out;
}

TEST(Jinja, DepthIsBounded) {
  for (const char* open : {"(", "[", "{1:", "not ", "-", "1 if ", "x[", "x(", "1+(", "a."}) {
    EXPECT_NE(refusal("{{ " + repeat(open, 100000)), "") << open;
  }
  for (const std::string& chain :
       {repeat("+1", 100000), repeat("|abs", 100000), repeat(".a", 100000), repeat("[0]", 100000), repeat("()", 100000)}) {
    EXPECT_REFUSED("{{ 1" + chain + " }}", "deeper than 200");
  }
  EXPECT_REFUSED(repeat("{% if 1 %}", 100000), "nesting deeper than 200");
  EXPECT_EQ(text("{% if 0 %}" + repeat("{% elif 0 %}", 10000) + "{% endif %}"), "");
  EXPECT_REFUSED("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deeper than 600");
  EXPECT_REFUSED("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "deeper than 600");
  EXPECT_REFUSED("{% set n = namespace(x=[]) %}{% for i in range(1000) %}{% set n.x = [n.x] %}{% endfor %}",
                 "lists deeper than 200");
}

TEST(Jinja, OutputIsBounded) {
  EXPECT_REFUSED("{% set x = 'a' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}", "more than 67108864 bytes of output");
}

// Templates that would work for ever, or double a text each time.
TEST(Jinja, WorkIsBounded) {
  const std::string hundred = "{% for i in range(99999) %}";
  const std::string doubled = "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = ";
  const std::vector<std::string> sources = {
      hundred + hundred + hundred + "{% endfor %}{% endfor %}{% endfor %}",
      doubled + "n.x + n.x %}{% endfor %}",
      doubled + "n.x ~ n.x %}{% endfor %}",
      doubled + "n.x | replace('', n.x) %}{% endfor %}",
      doubled + "n.x.join(n.x) %}{% endfor %}",
      doubled + "[n.x, n.x] %}{% endfor %}{{ n.x }}",
      doubled + "[n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
      doubled + "[n.x, n.x] %}{% endfor %}{{ n.x == n.x[:] }}",
      doubled + "(n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}",
      doubled + "n.x.center(1000000) * 100 %}{% endfor %}",
      doubled + "'%60000s' % n.x %}{{ n.x * 100 }}{% endfor %}",
      std::string("{{ 'a' * 9000000000000000000 }}"),
      std::string("{{ [1] * 9000000000 }}"),
      std::string("{{ 'a'.center(9000000000) }}"),
      std::string("{{ [1] | batch(9000000000, 0) | list }}"),
      std::string("{{ [1] | slice(9000000000) | list }}"),
      std::string("{{ 'a\\nb' | indent(9000000000) }}"),
      hundred + "{{ 'x' * 100000 }}{% endfor %}",
      hundred + "{{ ('x' * 100000).find('y') }}{% endfor %}",
      hundred + "{{ range(99999) | sort | first }}{% endfor %}",
      "{% macro m(n) %}{% for i in range(9) %}{{ m(n) if n > 0 }}{{ m(n - 1) if n > 0 }}{% endfor %}{% endmacro %}{{ m(90) }}",
  };
  for (const std::string& source : sources) {
    const std::clock_t start = std::clock();
    EXPECT_NE(refusal(source), "") << source;
    EXPECT_LT(seconds_since(start), 10.0) << source;  // about one, more where every step is checked
  }
}

// A megabyte of anything is read or refused within a second; checked builds get more.
TEST(Jinja, AMegabyteIsReadOrRefusedSoon) {
  for (const char* part : {"a",
                           "{",
                           "{{",
                           "{%",
                           "{#",
                           "}}",
                           "{{ a }}",
                           "{{ 1 }}",
                           "{% if a %}",
                           "{% set a = 1 %}",
                           "{% raw %}",
                           "{%- ",
                           "\n",
                           " ",
                           "{{ 'a' ",
                           "'",
                           "{{ [",
                           "{{ a.b }}",
                           "{# #}",
                           "{% raw %}{% endraw %}",
                           "{% for a in b %}{% endfor %}",
                           "{{ a | b(c) }}",
                           "\\",
                           "<|im_start|>system",
                           "{% raw %}{%",
                           "{{ 1_0 }}",
                           "\xE3\x80\x80",
                           "\xFF",
                           "{% elif %}",
                           "{% set ns.a %}"}) {
    for (const char* before : {"", "{{ "}) {
      const std::string source = before + repeat(part, (std::size_t{1} << 20) / std::string_view(part).size());
      const std::clock_t start = std::clock();
      refusal(source);
      EXPECT_LT(seconds_since(start), kMegabyteSeconds) << before << part;
    }
  }
}

TEST(Jinja, TextsMarkedSafeEscapeWhatIsAdded) {
  EXPECT_EQ(text("{{ '<'|safe + '<' }}{{ '<' + '>'|e }}{{ ('<'|safe).upper() + '&' }}{{ '<'|safe ~ '<' }}"),
            "<&lt;&lt;&gt;<&amp;<<");
  EXPECT_REFUSED("{{ ('a'|safe).replace('a', '<') }}", "marked safe");
}

}  // namespace
