// `qjl_bench codes`: what a code costs beside the others of about its bits: attention, encoding, and the step that seals.
//
//   attend   cold, a decode step at `tokens` tokens: ns a token, kv head and query head
//   encode   ns a pair of key and value
//   seal     the longest of 256 decode steps of one layer, two of which seal a page, over the median
#pragma once

#include <string>
#include <vector>

#include "machine.hpp"

namespace qjl::bench {

struct CodesOptions {
  std::vector<std::string> caches = {"k2v2", "t2v2", "k3v2", "t3v2", "k3v3", "t3v3", "k4v4", "t4v4", "k5v5", "k6v6"};
  std::vector<int> head_dims = {64, 128}, groups = {1, 4, 8};
  std::int64_t tokens = 16384;
  int kv_heads = 8;
  double seconds = 20;  // of rounds, a head_dim
};

// {"rows": [...], "machine": {...}}
Json codes_report(const CodesOptions& options);

}  // namespace qjl::bench
