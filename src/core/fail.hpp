// One way to throw: fail(kind, "append", "keys have ", n, " heads, the cache was made for ", m) -> "[append] keys have 4 heads,
// ...".
#pragma once

#include <sstream>
#include <string>
#include <string_view>

#include "qjl/error.hpp"

namespace qjl {

template <typename... Parts>
[[noreturn]] void fail(ErrorKind kind, std::string_view operation, const Parts&... parts) {
  std::ostringstream text;
  text << '[' << operation << "] ";
  (text << ... << parts);
  throw Error(kind, text.str());
}

template <typename... Parts>
void require(bool holds, std::string_view operation, const Parts&... parts) {
  if (!holds) fail(ErrorKind::invalid_argument, operation, parts...);
}

}  // namespace qjl
