// `qjl_bench paper`: the QJL paper's experiment on this processor: one attention layer, time of encoding and of decoding against
// context, for an exact cache, the paper's sketch, a KIVI-like cache and ours.
#pragma once

#include <string>
#include <vector>

#include "machine.hpp"

namespace qjl::bench {

struct PaperOptions {
  std::string file;  // JSON lines are added; what it has is not measured again
  std::vector<std::int64_t> tokens = {1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072};
  std::vector<std::string> caches = {"paper", "k2v2", "k3v2"};
  double seconds = 1.0;  // of rounds at each context
};

void run_paper(const PaperOptions& options);

}  // namespace qjl::bench
