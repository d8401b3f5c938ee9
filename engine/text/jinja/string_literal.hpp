// The value of a string as a template writes it: Python's escapes.
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine::jinja {

// `literal` without its quotes. An unknown escape stays as it is, as in Python. Errors: bad_file with the line.
std::string string_value(std::string_view literal, int line);

}  // namespace qjl::engine::jinja
