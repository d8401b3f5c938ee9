// Which library multiplies, for reports of faults.
#pragma once

#include <string>

namespace qjl::engine {

// "oneDNN 2.6.3": of the library that is loaded, not of its headers.
std::string math_libraries();

}  // namespace qjl::engine
