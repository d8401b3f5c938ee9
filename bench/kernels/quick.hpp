// `qjl_bench quick`: the ratios that a change must not make worse, in under a minute.
#pragma once

#include "machine.hpp"

namespace qjl::bench {

struct QuickOptions {
  std::int64_t tokens = 131072;
  int kv_heads = 8;
  double seconds = 25;  // of rounds; filling the caches and trying the exact kernels come on top
};

// {"ratios": {...}, "rows": [...], "checks": {...}, "machine": {...}}
Json quick_report(const QuickOptions& options);

}  // namespace qjl::bench
