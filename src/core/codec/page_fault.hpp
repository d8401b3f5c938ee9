// Whether a page that came from outside may be shown to kernels, which check nothing.
#pragma once

#include <string>

#include "page.hpp"

namespace qjl {

// What is wrong with it, found and wanted; "" when nothing is. Codes may be any bytes; a sketch's channels are looked at.
std::string page_fault(const layout::PageHead& head, const std::uint8_t* body, const layout::PageShape& shape);

}  // namespace qjl
