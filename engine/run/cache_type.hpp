// How a cache codes: a cache type of the library (qjl/config.hpp), or a plan's file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qjl/config.hpp"

namespace qjl::engine {

struct CacheType {
  std::string name;
  CodecConfig codec;
  std::vector<std::pair<Code, Code>> layer_codes = {};  // empty: codec's everywhere
  std::string fingerprint = {};                         // of the model that a plan was made for
  std::optional<double> forecast_kld = {};              // of a plan
  // Sets it in a cache of a model's shape; the model's own RoPE stays. Errors: invalid_argument when the plan is for other shapes.
  void apply(CacheConfig& config) const;
};
// Whether a cache type is the path of a plan: it ends in .json.
bool is_plan(std::string_view cache_type);
// Errors: invalid_argument on an unknown type, io or bad_file on a plan that cannot be read.
CacheType read_cache_type(const std::string& cache_type);

}  // namespace qjl::engine
