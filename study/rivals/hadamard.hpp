// The normalised Hadamard transform in Sylvester's order, its own inverse. x.size(): a power of two.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace qjl::engine::rivals {

inline void hadamard_transform(std::span<float> x) {
  for (std::size_t half = 1; half < x.size(); half *= 2) {
    for (std::size_t base = 0; base < x.size(); base += 2 * half) {
      for (std::size_t i = base; i < base + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float norm = 1.0f / std::sqrt(static_cast<float>(x.size()));
  for (float& number : x) number *= norm;
}

// The same in blocks of the largest power of two that divides the row.
inline void hadamard_blocks(std::span<float> row) {
  const std::size_t size = row.size() & (~row.size() + 1);
  for (std::size_t begin = 0; begin < row.size(); begin += size) hadamard_transform(row.subspan(begin, size));
}

}  // namespace qjl::engine::rivals
