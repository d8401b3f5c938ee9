// Sums of usage.
#include "usage_json.hpp"

namespace qjl::server {

void add_usage(engine::Usage& sum, const engine::Usage& usage) {
  const auto held = static_cast<double>(sum.held_tokens), more = static_cast<double>(usage.held_tokens);
  if (held + more > 0) sum.bits = (sum.bits * held + usage.bits * more) / (held + more);
  sum.cache_type = usage.cache_type;
  sum.prompt_tokens += usage.prompt_tokens;
  sum.cached_tokens += usage.cached_tokens;
  sum.generated_tokens += usage.generated_tokens;
  sum.own_bytes += usage.own_bytes;
  sum.shared_bytes += usage.shared_bytes;
  sum.compressed_tokens += usage.compressed_tokens;
  sum.held_tokens += usage.held_tokens;
}

Json usage_json(const engine::Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.generated_tokens},
          {"total_tokens", usage.prompt_tokens + usage.generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"qjl",
           {{"cache_type", usage.cache_type},
            {"bits", usage.bits},
            {"cache_bytes", {{"own", usage.own_bytes}, {"shared", usage.shared_bytes}}},
            {"compressed_tokens", usage.compressed_tokens}}}};
}

}  // namespace qjl::server
