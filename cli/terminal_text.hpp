// Text of files and models for a terminal: a control character in it could move the cursor, hide lines or type for its reader.
#pragma once

#include <string>
#include <string_view>

namespace qjl::cli {

// Control characters (C0, DEL, C1 and bytes that are no UTF-8 of their own) as \xNN, new lines too.
std::string one_line(std::string_view text);
// The same, but tabs and new lines stay.
std::string shown_text(std::string_view text);

}  // namespace qjl::cli
