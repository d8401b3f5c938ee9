// A fingerprint of what a cache writes: studies keep a figure as long as the cache that made it writes the same bytes.
//
//   FNV-1a over the bits of a sealed page, and over head and body of the first two sealed pages of every kv head of layer 0, filled
//   with fixed pseudo-random rows
#pragma once

#include <string>

#include "trial_cache.hpp"

namespace qjl::engine {

// Eight hexadecimal digits. The cache is empty and has room for two pages.
std::string cache_version(TrialCache& trial, ThreadPool& threads);

}  // namespace qjl::engine
