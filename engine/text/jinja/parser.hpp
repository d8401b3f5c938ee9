// Tokens to a tree: the grammar of jinja2 3.1 with the tags `generation`, `break` and `continue`; templates of templates (extends,
// include, import, block) are refused.
#pragma once

#include <string_view>

#include "lexer.hpp"
#include "syntax.hpp"

namespace qjl::engine::jinja {

inline constexpr int kMaxNesting = 200;  // braces, brackets and operators inside each other

// Cost: linear. Errors: bad_file, unsupported on a tag that is not there, both with the line, found and wanted.
Block parse(std::string_view source);

}  // namespace qjl::engine::jinja
