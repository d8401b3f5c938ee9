// The text of docs/format_example.md: one token of one page, from its numbers to bytes and back.
#pragma once

#include <string>

namespace qjl {

// Errors: std::logic_error when the numbers read from the bytes by hand are not those of PageCodec.
std::string format_example_markdown();

}  // namespace qjl
