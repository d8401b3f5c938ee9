// Configurations of codecs and small caches whose keys turn, for tests of any door.
#pragma once

#include <cmath>
#include <string>

#include "qjl/cache.hpp"
#include "qjl/codec.hpp"

namespace qjl::test {

// RoPE as models have it: base^(-2 i / (2 pairs)). At base 10^4 and 32 pairs some pairs are too fast for a mean, most turn within
// a page, the slowest are still.
inline KeyRope rope(int pairs, double base, KeyRope::Pairs layout = KeyRope::Pairs::halves) {
  KeyRope out{{}, layout};
  for (int i = 0; i < pairs; ++i) out.frequency.push_back(std::pow(base, -static_cast<double>(i) / pairs));
  return out;
}

// A cache type for keys that turn.
inline CodecConfig turned_config(const std::string& cache_type, int d) {
  CodecConfig config = codec_config(cache_type);
  config.rope = rope(d / 2, 1e4);
  return config;
}

inline CacheConfig cache_config(const std::string& type, int head_dim = 64, std::int64_t max_pages = 32, int num_layers = 2) {
  CacheConfig config;
  config.num_layers = num_layers;
  config.num_kv_heads = 2;
  config.head_dim = head_dim;
  config.max_pages = max_pages;
  config.codec = turned_config(type, head_dim);
  return config;
}

}  // namespace qjl::test
