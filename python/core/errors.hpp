// Errors of the library as those of the package (python/qjl/errors.py).
#pragma once

#include <sstream>
#include <string_view>

#include "qjl/error.hpp"

namespace qjl::python {

// From here on a qjl::Error that leaves a function of this module is the package's exception of its kind.
void translate_errors();

template <typename... Parts>
[[noreturn]] void refuse(ErrorKind kind, std::string_view operation, const Parts&... parts) {
  std::ostringstream text;
  text << '[' << operation << "] ";
  (text << ... << parts);
  throw Error(kind, text.str());
}

template <typename... Parts>
void require(bool holds, std::string_view operation, const Parts&... parts) {
  if (!holds) refuse(ErrorKind::invalid_argument, operation, parts...);
}

}  // namespace qjl::python
