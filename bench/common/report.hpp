// A timed variant as a JSON row: the same words in every report of the benchmark.
#pragma once

#include <cstdint>
#include <string>

#include "machine.hpp"
#include "rounds.hpp"

namespace qjl::bench {

// What one timed call did.
struct Work {
  std::int64_t units = 0;  // tokens * query heads, or pairs
  std::int64_t bytes = 0;  // read, as the format stores them; 0: not a matter of bytes
};

// {name, ns_best, ns_median (a unit), spread, rounds, gb_per_s}
inline Json timing_json(const Variant& variant, const Work& work) {
  const Timing timing = variant.timing();
  const auto ns = [&](double seconds) { return seconds * 1e9 / static_cast<double>(work.units); };
  Json row = {{"name", variant.name},
              {"ns_best", ns(timing.best)},
              {"ns_median", ns(timing.median)},
              {"spread", timing.spread},
              {"rounds", timing.rounds}};
  if (work.bytes > 0) {
    row["bytes"] = work.bytes;
    row["gb_per_s"] = static_cast<double>(work.bytes) / timing.best * 1e-9;
  }
  return row;
}

// Writes to a file by way of another name, so that nobody sees half of it; "-" or empty is standard output.
void write_text(const std::string& file, const std::string& text);

}  // namespace qjl::bench
