// Any template ends soon: depth, output, work and memory are bounded, and numbers have 64 bits.
#include <array>

#include "jinja_render.hpp"

namespace {

using namespace qjl::engine::jinja;

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
  const std::string data(1000000, 'a');
  EXPECT_REFUSED("{% for i in range(99) %}" + data + "{% endfor %}", "more than 67108864 bytes of output");
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
      std::string("{{ (['A' * 1000000] * 100000) | sort }}"),
      std::string("{{ (['A' * 1000000] * 100000) | unique | list }}"),
      std::string("{{ (['A' * 1000000] * 100000) | max }}"),
      std::string("{{ ([['A' * 1000000]] * 100000) | groupby(0) }}"),
      std::string("{{ range(10000) | list | tojson(separators=('x' * 10000000, ':')) }}"),
      std::string("{{ (',' * 90000000).split(',') }}"),
      std::string("{{ (', ' * 45000000).split() }}"),
      std::string("{{ ('\\n' * 90000000).splitlines() }}"),
      hundred + "{{ 'b' + 'a' * 99999 in 'a' * 199999 }}{% endfor %}",
      hundred + "{{ ('a' * 199999).rfind('a' * 49999 + 'b' + 'a' * 50000) }}{% endfor %}",
      hundred + "{{ ('a' * 199999).find('a' * 50000 + 'b' + 'a' * 49999) }}{% endfor %}",
      hundred + "{{ ('a' * 199999) | replace('a' * 50000 + 'b' + 'a' * 49999, '') }}{% endfor %}",
      hundred + "{{ ('a' * 99999) | trim('\u3042' * 99999 + 'a') }}{% endfor %}",
      "{% set d = {'k' * 9999999: 1} %}" + hundred + hundred + "{{ d == {1: 1} }}{% endfor %}{% endfor %}",
      hundred + hundred + "{{ " + std::string(1000000, 'n') + " }}{% endfor %}{% endfor %}",
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

}  // namespace
