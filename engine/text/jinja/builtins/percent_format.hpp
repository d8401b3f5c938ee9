// Python's two ways to fill values into a text: "%s %d" % values, and "{} {name}".format(...).
#pragma once

#include "call.hpp"

namespace qjl::engine::jinja {

// values: a tuple, a dict for %(name)s, or one value. Errors: Fault.
Value percent_format(Interpreter& run, const OriginText& form, const Value& values);

// Fields {}, {0}, {name}, {{ and }}; with conversions or format specifications: Fault.
Value brace_format(Call& call);

}  // namespace qjl::engine::jinja
