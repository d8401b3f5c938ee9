// 100,000 damaged chat templates: rendered or refused with an Error that says where, in bounded work; what a message holds never becomes
// template text.
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <random>
#include <string>

#include "chat.hpp"
#include "qjl/error.hpp"

namespace {

using namespace qjl::engine;

constexpr const char* kMark = "\xE2\x98\x83";  // stands in all words of messages and in no template

constexpr std::array kTemplates = {
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% if not loop.last %}\n{% endif %}{% endfor %}",
    "{%- set ns = namespace(found=false, n=0) -%}{%- for m in messages if m.role == 'user' -%}{% set ns.n = ns.n + 1 %}"
    "{%- endfor -%}{{ ns.n }}{{ messages[-1]['content'][1:3] ~ '<|end|>' }}",
    "{% macro call(t) %}{{ t.name }}({% for k, v in t.args | items %}{{ k }}={{ v | tojson }}{{ ', ' if not loop.last }}{% endfor "
    "%})"
    "{% endmacro %}{% for t in tools %}{{ call(t) }}{% endfor %}{{ messages | map(attribute='content') | join('|') }}",
    "{% if tools is defined and tools %}{{ tools | length }}{% elif x > 2 %}{{ '%d %s' % (x, 'y') }}{% else %}{{ none }}{% endif %}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ raise_exception('no') if x is string }}",
    "{% raw %}{{ {% endraw %}{% set a = [1, 2.5, 'b'] + [x] %}{{ a[::-1] | join(',') }}{{ messages[0].content.split(' "
    "')[0].upper() }}"
    "{% set d = {'k': a, 'l': {'m': true}} %}{{ d.l.m and not d.k }}{# a comment #}",
};

// One to four changes: a byte, a stretch that goes, comes twice, or comes from another template, an end.
void mutate(std::string& source, std::mt19937_64& random) {
  constexpr std::string_view kParts[] = {"{{", "}}",  "{%",   "%}",    "{%-",  "'",    "(",      ")",   "[",        "]",
                                         "|",  ".",   " if ", " for ", " in ", "not ", "x",      "m",   "messages", "0",
                                         "-1", "1e9", "~",    "**",    "//",   "==",   "endfor", "\\n", "\0"};
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  for (std::size_t changes = 1 + below(4); changes > 0 && !source.empty(); --changes) {
    const std::size_t at = below(source.size()), length = below(12);
    switch (below(6)) {
      case 0: source[at] = static_cast<char>(random()); break;
      case 1: source.erase(at, length); break;
      case 2: source.insert(at, source.substr(below(source.size()), length)); break;
      case 3: source.insert(at, std::string_view(kTemplates[below(kTemplates.size())]).substr(below(60), length)); break;
      case 4: source.insert(at, kParts[below(std::size(kParts))]); break;
      default: source.resize(at + 1); break;
    }
  }
}

bool renders(const std::string& source, const ChatJson& messages, const ChatOptions& options) {
  // The source may spell the mark's bytes itself.
  const bool spells_mark = source.find_first_of("\\\xE2\x98\x83") != std::string::npos;
  try {
    const ChatTemplate form(source, TokenizerData{});
    for (const ChatPiece& piece : form.render(messages, options)) {
      EXPECT_FALSE(piece.text.empty()) << source;
      const bool is_markup = piece.special == Tokenizer::Special::parse;
      EXPECT_TRUE(!is_markup || spells_mark || piece.text.find(kMark) == std::string::npos) << source;
    }
    return true;
  } catch (const qjl::Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("[chat")) << error.what() << " of " << source;
    return false;
  }
}

TEST(JinjaMutation, HundredThousandDamagedTemplates) {
  const std::string mark = kMark;
  const auto messages = ChatJson::array({chat_message("system", mark), chat_message("user", " hello " + mark + " ")});
  const ChatJson tool = {{"name", mark}, {"args", {{"a", 1}, {mark, {mark, nullptr}}}}};
  const ChatOptions options{.variables = {{"x", 3}, {"tools", ChatJson::array({tool})}}};
  for (const char* source : kTemplates) ASSERT_TRUE(renders(source, messages, options)) << source;
  std::mt19937_64 random(3);
  int passed = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::string source = kTemplates[static_cast<std::size_t>(round) % kTemplates.size()];
    mutate(source, random);
    const std::clock_t start = std::clock();
    passed += renders(source, messages, options) ? 1 : 0;
    ASSERT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC) << source;  // of this process; the longest that bounds on work allow
  }
  EXPECT_GT(passed, 2'000);
  EXPECT_LT(passed, 90'000);
}

}  // namespace
