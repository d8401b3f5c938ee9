// The expressions of tokenizer.json (Oniguruma, Ruby's syntax) in the words of PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine {

// The same matches. White space is the property White_Space (pretokenizer.cpp). Errors: unsupported on what the two read differently,
// or what no pre-tokenizer needs: names the part and the expression.
std::string pcre_expression(std::string_view expression);

// A text as an expression that matches it.
std::string quoted_expression(std::string_view text);

}  // namespace qjl::engine
