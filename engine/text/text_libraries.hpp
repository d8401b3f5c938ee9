// Which libraries read text, for reports of faults.
#pragma once

#include <string>

namespace qjl::engine {

// "PCRE2 10.42, utf8proc 2.8.0": of the libraries that are loaded, not of their headers.
std::string text_libraries();

}  // namespace qjl::engine
