// Cache types by name, and plans by their path.
#include "cache_type.hpp"

#include <fstream>
#include <iterator>

#include "plan_file.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {

bool is_plan(std::string_view cache_type) { return cache_type.ends_with(".json"); }

CacheType read_cache_type(const std::string& cache_type) {
  if (!is_plan(cache_type)) return {cache_type, codec_config(cache_type)};
  std::ifstream file(cache_type, std::ios::binary);
  if (!file) throw Error(ErrorKind::io, "[plan] found no file `" + cache_type + "` that can be read");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Plan plan = read_plan(text, cache_type);
  CacheType type{cache_type, {}, plan.layer_codes, plan.fingerprint, plan.forecast_kld};
  type.codec.seed = plan.seed;
  type.codec.sink_tokens = plan.sink_tokens;
  return type;
}

void CacheType::apply(CacheConfig& config) const {
  if (!layer_codes.empty() && std::ssize(layer_codes) != config.num_layers) {
    throw Error(ErrorKind::invalid_argument, "[plan] `" + name + "` is for " + std::to_string(layer_codes.size()) +
                                                 " layers, wanted " + std::to_string(config.num_layers));
  }
  KeyRope rope = std::move(config.codec.rope);
  config.codec = codec;
  config.codec.rope = std::move(rope);
  config.layer_codes = layer_codes;
}

}  // namespace qjl::engine
