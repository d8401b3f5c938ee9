// A KIVI-like cache of several kv heads (kivi.hpp): encode, attend, check.
#pragma once

#include <cstdint>
#include <vector>

#include "huge_buffer.hpp"
#include "qjl/threads.hpp"

namespace qjl::bench {

// head_dim 128; 1 or 4 query heads per kv head; to be used only where has_exact_rivals().
class KiviCache {
 public:
  KiviCache(int kv_heads, std::int64_t tokens);

  // Writes tokens [at, at + count) from fp32 rows [kv_heads][count][128]; at and count are multiples of 32.
  void encode(const float* keys, const float* values, std::int64_t at, std::int64_t count, ThreadPool& threads);
  // queries [kv_heads * group, 128] with the softmax scale and log2(e) in them; out the same shape.
  void attend(int group, const float* queries, float* out, ThreadPool& threads) const;
  std::int64_t bytes() const;

  // Relative error of attend() against attention in doubles over the numbers that the codes stand for.
  static double error(int group);

 private:
  int kv_heads_;
  std::int64_t tokens_;
  HugeBuffer groups_;
};
// fp32 sums, 2^x with error 4e-6, fp32 products of scale and weight: far below 2^-12.
inline constexpr double kKiviErrorBound = 1.0 / 4096;

}  // namespace qjl::bench
