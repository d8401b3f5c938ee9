// Filters that make numbers.
#pragma once

#include "call.hpp"

namespace qjl::engine::jinja {

Value absolute(Call& call);
Value to_int(Call& call);    // default, base
Value to_float(Call& call);  // default
Value rounded(Call& call);   // precision, method

}  // namespace qjl::engine::jinja
