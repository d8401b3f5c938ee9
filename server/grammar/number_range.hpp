// Numbers between two bounds, digit by digit.
//
// A number is a sign and digits; beside the digits of a bound of the same length it is below, above, or equal so far. So a range is an
// automaton of at most three states a digit, and exact: no text comes that a program that reads doubles finds outside.
#pragma once

#include <optional>

#include "json_grammar.hpp"

namespace qjl::server {

struct NumberBound {
  Json value;                 // a number
  bool is_exclusive = false;  // the number itself is outside
};

// Whole numbers, or numbers with a point, of at most 15 digits, without exponents. Errors: invalid_argument when no number is in the
// range, unsupported when a bound has more than 15 digits.
Grammar::Part number_between(JsonGrammar& json, bool is_whole, std::optional<NumberBound> least, std::optional<NumberBound> most);

}  // namespace qjl::server
