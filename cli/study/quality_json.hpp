// The fields of one cache's quality on one text, as `eval` and `study` write them.
#pragma once

#include <nlohmann/json.hpp>

#include "eval.hpp"

namespace qjl::cli {

nlohmann::ordered_json quality_json(const engine::EvalResult& result);

}  // namespace qjl::cli
