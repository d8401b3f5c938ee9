// Rounds of all variants in turn; best, median and spread of each.
#include "rounds.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace qjl::bench {
namespace {

constexpr double kWarmSlice = 3e-3;  // seconds that a warm variant repeats in its turn
constexpr int kEvictFactor = 3;

// The number at a share of a sorted list.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double time_cold(const Variant& variant, const Evictor& evictor) {
  evictor.evict();
  const double start = now_seconds();
  variant.run();
  return now_seconds() - start;
}

double time_warm(const Variant& variant) {
  variant.run();
  const double start = now_seconds();
  int repeats = 0;
  do {
    variant.run();
    ++repeats;
  } while (now_seconds() - start < kWarmSlice);
  return (now_seconds() - start) / repeats;
}

}  // namespace

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Timing Variant::timing() const {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const double median = quantile(sorted, 0.5);
  return {sorted.front(), median, (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / median, static_cast<int>(sorted.size())};
}

Evictor::Evictor(std::int64_t last_level_bytes) : buffer_(static_cast<std::size_t>(last_level_bytes) * kEvictFactor) {}

void Evictor::evict() const {
  const auto* words = buffer_.as<const std::uint64_t>();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < buffer_.bytes() / sizeof(std::uint64_t); i += 8) sum += words[i];
  asm volatile("" ::"r"(sum));
}

void run_rounds(std::span<Variant> variants, const RoundLimits& limits, const Evictor* evictor) {
  for (auto& variant : variants) {
    variant.seconds.clear();
    variant.run();  // first touch of its memory and code
  }
  const double start = now_seconds();
  for (int round = 0; round < limits.rounds; ++round) {
    if (round >= limits.min_rounds && now_seconds() - start > limits.seconds) break;
    for (auto& variant : variants) {
      if (round % variant.every != 0) continue;
      variant.seconds.push_back(evictor != nullptr ? time_cold(variant, *evictor) : time_warm(variant));
    }
  }
}

}  // namespace qjl::bench
