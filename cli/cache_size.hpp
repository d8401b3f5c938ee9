// What a cache takes, from its shape alone.
#pragma once

#include <cstdint>

#include "qjl/cache.hpp"

namespace qjl::cli {

// Bytes of one sequence: whole pages sealed, the rest and the sinks as exact 16-bit rows.
struct CacheSize {
  std::int64_t full = 0, windowed = 0;  // of layers that keep all tokens, of those that forget (CacheConfig::layer_retention)
  std::int64_t all_kept = 0;            // if all kept all
  std::int64_t recurrent = 0;           // of layers without keys, whatever the length
  std::int64_t total() const { return full + windowed + recurrent; }
};
CacheSize cache_size(const KvCache& cache, std::int64_t tokens);

// The most tokens, of at most `most`, whose sequence takes no more than `bytes`; 0 when one token takes more.
std::int64_t tokens_within(const KvCache& cache, std::int64_t bytes, std::int64_t most);

}  // namespace qjl::cli
