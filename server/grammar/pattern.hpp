// Regular expressions of JSON Schema (ECMA 262) as grammars of the inside of a JSON string.
//
// Read: characters, ., classes, \d \w \s \D \W \S, \t \n \r \f \uXXXX and escaped signs, groups, |, * + ? {m,n} (lazy ones too), ^ at the
// beginning and $ at the end of an alternative of the whole. Anything may stand where a ^ or $ is missing. Kinds of characters are ASCII's
// where programs differ. Refused: look-around, back references, \b, \p, named groups; and counts of what may be empty or has counts at
// both of its edges, as (a*)* or (a+)+: of a text that such a one reads in many ways the parser would keep them all. So it would of
// .{1,9}: a count of . or of a negated class is *, +, ? or exact.
#pragma once

#include <cstdint>
#include <string_view>

#include "json_grammar.hpp"

namespace qjl::server {

struct PatternPart {
  Grammar::Part part;
  std::int64_t least = 0, most = 0;                   // characters; most: Grammar::kNoLimit when there is none
  bool begins_counted = false, ends_counted = false;  // at that edge something may be that comes a number of times
  bool is_wide = false;                               // has . or a negated class
};

// Errors: unsupported on what is not read, invalid_argument on what is no expression.
PatternPart read_pattern(JsonGrammar& json, std::string_view expression);

}  // namespace qjl::server
