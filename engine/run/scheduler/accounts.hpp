// What the scheduler has done and holds, as of its last step. Times are in seconds.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qjl/cache.hpp"

namespace qjl::engine {

// Of one running, waiting or parked choice, or of a request that waits or is being read (choice 0).
struct SequenceAccount {
  enum class State : std::uint8_t { waiting, reading, running, parked };
  std::int64_t request = 0;
  int choice = 0;
  State state = State::waiting;
  int cache_type = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::int64_t held_tokens = 0;  // in the cache, or in what was parked
  std::int64_t own_pages = 0, shared_pages = 0;
  double age_seconds = 0;  // since submit
};
std::string_view state_name(SequenceAccount::State state);

// Of one cache type. pages: used by requests + idle (prefixes that no request uses) + free = capacity.
struct CacheAccount {
  std::string name;
  double bits_sealed = 0;         // of a sealed page
  MemoryReport memory = {};       // by kind; total() is every byte
  std::int64_t parked_bytes = 0;  // packed bytes of parked sequences, outside the pool
  std::int64_t budget_bytes = 0;  // what pages, tails and tables may take
  std::int64_t page_bytes = 0;    // of 128 tokens of a sequence, all layers and heads
  std::int64_t pages_used = 0, pages_idle = 0, pages_free = 0;
  std::int64_t capacity_tokens = 0;      // of one sequence that has all of it
  std::int64_t capacity_tokens_f16 = 0;  // what f16 would hold in the same bytes
  std::int64_t prefix_hits = 0, prefix_hit_tokens = 0, prefix_misses = 0;
  std::int64_t evicted_pages = 0;
  std::int64_t parked = 0;  // now
};

// Cumulative, for Prometheus: `upper` bounds of the buckets in seconds, counts of each and of those above.
struct Histogram {
  static constexpr std::array<double, 14> kUpper = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60};
  std::array<std::int64_t, kUpper.size() + 1> counts{};
  double sum = 0;
  void add(double seconds);
  std::int64_t count() const;
};

struct Accounts {
  std::vector<CacheAccount> caches;
  std::vector<SequenceAccount> sequences;
  std::int64_t waiting = 0, reading = 0, running = 0, parked = 0;              // now
  std::int64_t done = 0, cancelled = 0, drained = 0, failed = 0, refused = 0;  // requests, ever
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;     // ever
  std::int64_t computed_tokens = 0;                                            // rows that passed through the model, ever
  std::int64_t parkings = 0, steps = 0;                                        // ever
  Histogram first_token, per_token;                                            // from submit; between tokens of one choice
  std::int64_t scratch_bytes = 0, weight_bytes = 0;
};

}  // namespace qjl::engine
