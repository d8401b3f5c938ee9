// `qjl_bench kernels`: attention and encoding over shapes, cache types, contexts and threads, a JSON line each.
#pragma once

#include <string>
#include <vector>

#include "machine.hpp"

namespace qjl::bench {

struct KernelsOptions {
  std::string file;  // JSON lines are added to it; points that it has already are not measured again
  std::vector<int> head_dims = {64, 128}, groups = {1, 3, 4, 8}, threads = {1, 2};
  std::vector<std::int64_t> tokens = {1024, 4096, 16384, 131072, 1048576};
  std::vector<std::string> caches = {"k2v2", "k3v2", "k3v3", "k4v4", "paper", "f16"};
  int kv_heads = 8;
  double seconds = 3;  // of rounds at each point
};

void run_kernels(const KernelsOptions& options);

}  // namespace qjl::bench
