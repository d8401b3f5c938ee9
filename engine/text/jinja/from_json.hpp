// JSON to values. Its texts, keys included, are words: they were given to the template.
#pragma once

#include <nlohmann/json.hpp>

#include "value.hpp"

namespace qjl::engine::jinja {

// Errors: Fault when it is deeper than kMaxValueDepth. Whole numbers of more than 63 bits become floats.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace qjl::engine::jinja
