// Each kind of value is one rule, however often it stands.
#include "json_grammar.hpp"

#include <algorithm>
#include <map>
#include <string>

namespace qjl::server {
namespace {

using Part = Grammar::Part;
using Ranges = std::vector<Grammar::Range>;

// What may stand in a string as it is.
const Ranges kPlain = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, 0x10FFFF}};
const Ranges kDigit = {{'0', '9'}}, kFirstDigit = {{'1', '9'}}, kHex = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};

}  // namespace

Part JsonGrammar::comma() {
  if (!comma_) comma_ = g_.sequence({g_.text(","), g_.optional(g_.text(" "))});
  return *comma_;
}

Part JsonGrammar::colon() {
  if (!colon_) colon_ = g_.sequence({g_.text(":"), g_.optional(g_.text(" "))});
  return *colon_;
}

Ranges JsonGrammar::plain(const Ranges& among) {
  Ranges out;
  for (const auto& [first, last] : among) {
    for (const auto& [low, high] : kPlain) {
      if (std::max(first, low) <= std::min(last, high)) out.push_back({std::max(first, low), std::min(last, high)});
    }
  }
  return out;
}

Part JsonGrammar::plain_character() { return g_.characters(kPlain); }

// \uXXXX is one character: no half of a pair, or a whole pair.
Part JsonGrammar::character() {
  if (character_) return *character_;
  const Part hex = g_.characters(kHex);
  const Part single = g_.one_of({g_.sequence({g_.characters({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), hex}),
                                 g_.sequence({g_.characters({{'D', 'D'}, {'d', 'd'}}), g_.characters({{'0', '7'}})})});
  const Part d = g_.characters({{'D', 'D'}, {'d', 'd'}});
  const Part high = g_.characters({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), low = g_.characters({{'C', 'F'}, {'c', 'f'}});
  const Part pair = g_.sequence({d, high, hex, hex, g_.text("\\u"), d, low, hex, hex});
  const Part code = g_.sequence({g_.text("u"), g_.one_of({g_.sequence({single, hex, hex}), pair})});
  const Part brief =
      g_.characters({{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}});
  const Part escape = g_.sequence({g_.text("\\"), g_.one_of({brief, code})});
  character_ = g_.one_of({plain_character(), escape});
  return *character_;
}

Part JsonGrammar::string(std::int64_t least, std::int64_t most) {
  if (least > 0 || most != Grammar::kNoLimit) return g_.rule(quoted(g_.repeat(plain_character(), least, most)));
  if (!any_string_) any_string_ = g_.rule(quoted(g_.repeat(character(), 0, Grammar::kNoLimit)));
  return *any_string_;
}

// Beginning here, any text but the rests of those that begin as this one did.
Part JsonGrammar::other_rest(const std::vector<std::u32string>& taken) {
  std::map<char32_t, std::vector<std::u32string>> next;
  bool is_taken = false;
  for (const std::u32string& rest : taken) {
    if (rest.empty())
      is_taken = true;
    else
      next[rest.front()].push_back(rest.substr(1));
  }
  std::vector<Part> ways;
  Ranges others;
  char32_t from = 0;
  for (const auto& [c, rests] : next) {
    if (c > from) others.push_back({from, c - 1});
    from = c + 1;
    if (!plain({{c, c}}).empty()) ways.push_back(g_.sequence({g_.characters({{c, c}}), other_rest(rests)}));
  }
  others.push_back({from, 0x10FFFF});
  ways.push_back(g_.sequence({g_.characters(plain(others)), g_.repeat(plain_character(), 0, Grammar::kNoLimit)}));
  if (!is_taken) ways.push_back(g_.text(""));
  return g_.rule(g_.one_of(std::move(ways)));
}

Part JsonGrammar::other_string(const std::vector<std::string_view>& taken) {
  std::vector<std::u32string> texts;
  for (const std::string_view each : taken) texts.push_back(code_points(each));
  return g_.rule(quoted(other_rest(texts)));
}

Part JsonGrammar::integer() {
  if (!integer_) {
    const Part whole = g_.sequence({g_.characters(kFirstDigit), g_.repeat(g_.characters(kDigit), 0, 14)});
    integer_ = g_.sequence({g_.optional(g_.text("-")), g_.one_of({g_.text("0"), whole})});
  }
  return *integer_;
}

Part JsonGrammar::number() {
  if (!number_) {
    const Part fraction = g_.sequence({g_.text("."), g_.repeat(g_.characters(kDigit), 1, 15)});
    const Part sign = g_.optional(g_.characters({{'+', '+'}, {'-', '-'}}));
    const Part exponent = g_.sequence({g_.characters({{'E', 'E'}, {'e', 'e'}}), sign, g_.repeat(g_.characters(kDigit), 1, 2)});
    number_ = g_.rule(g_.sequence({integer(), g_.optional(fraction), g_.optional(exponent)}));
  }
  return *number_;
}

Part JsonGrammar::boolean() {
  if (!boolean_) boolean_ = g_.rule(g_.one_of({g_.text("true"), g_.text("false")}));
  return *boolean_;
}

Part JsonGrammar::list(Part item, std::int64_t least, std::int64_t most) {
  if (most == 0) return g_.text("");
  const std::int64_t more = most == Grammar::kNoLimit ? most : most - 1;
  const Part some =
      g_.sequence({item, g_.repeat(g_.rule(g_.sequence({comma(), item})), std::max<std::int64_t>(least - 1, 0), more)});
  return least == 0 ? g_.optional(some) : some;
}

Part JsonGrammar::value() {
  if (!value_) {
    value_ = g_.new_rule();
    g_.define(*value_, g_.one_of({string(0, Grammar::kNoLimit), number(), boolean(), null(), object(), array()}));
  }
  return *value_;
}

Part JsonGrammar::object() {
  if (!object_) {
    object_ = g_.new_rule();
    const Part member = g_.rule(g_.sequence({string(0, Grammar::kNoLimit), colon(), value()}));
    g_.define(*object_, g_.sequence({g_.text("{"), list(member, 0, Grammar::kNoLimit), g_.text("}")}));
  }
  return *object_;
}

Part JsonGrammar::array() {
  if (!array_) {
    array_ = g_.new_rule();
    g_.define(*array_, g_.sequence({g_.text("["), list(value(), 0, Grammar::kNoLimit), g_.text("]")}));
  }
  return *array_;
}

}  // namespace qjl::server
