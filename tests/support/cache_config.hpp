// A small cache of keys that turn, for tests of any door.
#pragma once

#include <cmath>
#include <string>

#include "qjl/cache.hpp"
#include "qjl/codec.hpp"

namespace qjl::test {

inline CacheConfig cache_config(const std::string& type, int head_dim = 64, std::int64_t max_pages = 32, int num_layers = 2) {
  CacheConfig config;
  config.num_layers = num_layers;
  config.num_kv_heads = 2;
  config.head_dim = head_dim;
  config.max_pages = max_pages;
  config.codec = codec_config(type);
  for (int pair = 0; pair < head_dim / 2; ++pair) {
    config.codec.rope.frequency.push_back(std::pow(1e4, -2.0 * pair / head_dim));
  }
  return config;
}

}  // namespace qjl::test
