// The place of a part in a text. Time: linear in the two sizes, whatever they hold, so that work can be counted by them.
#pragma once

#include <cstddef>
#include <string_view>

namespace qjl::engine::jinja {

// In bytes from the text's start; npos where the text has no such part.
std::size_t find_first(std::string_view text, std::string_view part, std::size_t from = 0);
std::size_t find_last(std::string_view text, std::string_view part);

}  // namespace qjl::engine::jinja
