// The parts of the accounts that are more than numbers.
#include "accounts.hpp"

#include <algorithm>
#include <numeric>

namespace qjl::engine {

std::string_view state_name(SequenceAccount::State state) {
  switch (state) {
    case SequenceAccount::State::waiting: return "waiting";
    case SequenceAccount::State::reading: return "reading";
    case SequenceAccount::State::running: return "running";
    case SequenceAccount::State::parked: return "parked";
  }
  return "unknown";
}

void Histogram::add(double seconds) {
  const auto bucket = std::ranges::lower_bound(kUpper, seconds) - kUpper.begin();
  ++counts[static_cast<std::size_t>(bucket)];
  sum += seconds;
}

std::int64_t Histogram::count() const { return std::accumulate(counts.begin(), counts.end(), std::int64_t{0}); }

}  // namespace qjl::engine
