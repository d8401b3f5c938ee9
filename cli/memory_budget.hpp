// --memory: one number for all that a run takes, instead of a context and the cache's own bytes.
//
//   memory = weights + the program's own tables + what the largest pass computes with + cache
//
// The first three are measured by small passes before anything is promised; the cache gets the rest.
#pragma once

#include <cstdint>

#include "cache_type.hpp"
#include "loaded_model.hpp"
#include "model.hpp"

namespace qjl::cli {

struct MemoryBudget {
  std::int64_t total = 0;  // bytes, as all
  std::int64_t weights = 0, program = 0, scratch = 0;
  std::int64_t cache() const { return total - weights - program - scratch; }
};

inline constexpr std::int64_t kMemoryChunk = 512;  // of a prompt, where --chunk does not say

// The largest pass that a run makes.
struct LargestPass {
  std::int64_t rows = 0;     // tokens
  bool scores_rows = false;  // logits of its rows, too, in blocks
  engine::Arithmetic arithmetic = engine::Arithmetic::fast;
};

// Prepares the model and passes some rows through it. Errors: Usage when `total` is less than what is not the cache and one page of it take (found
// and wanted); where the weights alone are too much, before they are read.
MemoryBudget measure_memory(LoadedModel& loaded, const engine::CacheType& type, std::int64_t total, const LargestPass& pass);

// The context, at most `most` tokens, of one sequence that has all of the budget's cache, and a line in the log that says it beside that
// of f16 and a plan's forecast.
std::int64_t context_within(const LoadedModel& loaded, const engine::CacheType& type, const MemoryBudget& budget,
                            std::int64_t most);

}  // namespace qjl::cli
