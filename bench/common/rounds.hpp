// Times several variants of a job side by side.
//
// A round runs every variant once, in turn, so that whatever else the machine does falls on all of them alike. The best time of
// all rounds is the figure (nothing can make a program faster than it is); median and spread say how far to trust it.
// Cold: other memory, three times the last level cache, is read before each run. Warm: a variant repeats inside its turn, the
// first pass is not timed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "huge_buffer.hpp"

namespace qjl::bench {

struct Timing {
  double best = 0, median = 0;
  double spread = 0;  // (upper quartile - lower quartile) / median
  int rounds = 0;
};

struct Variant {
  std::string name;
  std::function<void()> run;
  int every = 1;                     // runs in one of so many rounds: a slow variant leaves the time to the others
  std::vector<double> seconds = {};  // of each of its rounds

  Timing timing() const;
};

double now_seconds();

// Reads enough memory to push everything else out of the caches.
class Evictor {
 public:
  explicit Evictor(std::int64_t last_level_bytes);
  void evict() const;

 private:
  HugeBuffer buffer_;
};

// The best of few rounds is worse than the best of many, and more so for a variant whose time scatters: comparisons that are to
// agree take the same limits.
struct RoundLimits {
  int rounds = 40;      // at most
  int min_rounds = 15;  // even when the time is up
  double seconds = 10;  // no new round starts later
};

// With an evictor the runs are cold, without one warm.
void run_rounds(std::span<Variant> variants, const RoundLimits& limits, const Evictor* evictor);

}  // namespace qjl::bench
