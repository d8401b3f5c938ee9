// JSON's values as a grammar: what stands between them, texts, numbers, and values of any kind.
//
// What is made always ends if its maker wants it to: at most one space stands after , and :, none elsewhere, and a number has at
// most 15 digits before the point, 15 after it and an exponent of two, so that it is finite in every program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar.hpp"
#include "json.hpp"

namespace qjl::server {

class JsonGrammar {
 public:
  using Part = Grammar::Part;
  explicit JsonGrammar(Grammar& grammar) : g_(grammar) {}
  Grammar& grammar() { return g_; }

  Part comma();
  Part colon();
  // One character of a string between its quotes: as it is, or as an escape, which is one character, too. Whole UTF-8 alone: no
  // surrogates, no control characters.
  Part character();
  // One that is as it is; and of some characters those that may be so.
  Part plain_character();
  static std::vector<Grammar::Range> plain(const std::vector<Grammar::Range>& among);
  Part quoted(Part inside) { return g_.sequence({g_.text("\""), inside, g_.text("\"")}); }
  // `least` to `most` characters. Where that is a limit, none of them escaped: counting plain ones costs nothing, others a step of the
  // parser for each.
  Part string(std::int64_t least, std::int64_t most);
  // A text whose characters are as they are and that is none of these (escapes could spell one of them).
  Part other_string(const std::vector<std::string_view>& taken);
  // Exactly this.
  Part literal(const Json& value) { return g_.text(value.dump()); }

  Part integer();
  Part number();
  Part boolean();
  Part null() { return g_.text("null"); }
  // Of any kind, as deep as they come.
  Part value();
  Part object();
  Part array();

  // Nothing, or `least` to `most` items with commas between.
  Part list(Part item, std::int64_t least, std::int64_t most);

 private:
  Part other_rest(const std::vector<std::u32string>& taken);

  Grammar& g_;
  std::optional<Part> comma_, colon_, character_, any_string_, integer_, number_, boolean_, value_, object_, array_;
};

}  // namespace qjl::server
