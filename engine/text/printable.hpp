// Text that somebody else wrote, fit for a message.
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine {

// In quotes: at most 64 characters, bytes that do not print as \xNN.
std::string printable(std::string_view text);

}  // namespace qjl::engine
