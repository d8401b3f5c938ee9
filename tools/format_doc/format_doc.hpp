// The text of docs/format.md, made from the layout itself.
#pragma once

#include <string>

namespace qjl {

std::string page_format_markdown();

}  // namespace qjl
