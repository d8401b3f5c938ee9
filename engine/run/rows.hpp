// Rows of activations: memory for them, and the cheap steps that go over them one by one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "qjl/threads.hpp"

namespace qjl::engine {

inline constexpr std::int64_t kRowsPerItem = 8;  // rows of the cheap steps that one worker takes at a time

inline float* grow(std::vector<float>& buffer, std::int64_t count) {
  if (std::ssize(buffer) < count) buffer.resize(static_cast<std::size_t>(count));
  return buffer.data();
}

// Calls work(row) for every row in [begin, end); few rows stay on this thread.
template <typename Work>
void for_rows(std::int64_t begin, std::int64_t end, ThreadPool& threads, const Work& work) {
  auto stretch = [&](std::int64_t item, int) {
    const std::int64_t first = begin + item * kRowsPerItem, last = std::min(first + kRowsPerItem, end);
    for (std::int64_t row = first; row < last; ++row) work(row);
  };
  const std::int64_t items = (end - begin + kRowsPerItem - 1) / kRowsPerItem;
  if (items == 1) return stretch(0, 0);
  threads.run(items, stretch);
}

// Heads [heads, narrow] of one row become [heads, wide], with zeros behind their numbers; and back.
inline void widen_heads(float* row, int heads, int narrow, int wide) {
  if (narrow == wide) return;
  for (std::int64_t h = heads - 1; h > 0; --h)
    std::copy_backward(row + h * narrow, row + (h + 1) * narrow, row + h * wide + narrow);
  for (std::int64_t h = 0; h < heads; ++h) std::fill_n(row + h * wide + narrow, wide - narrow, 0.0f);
}
inline void narrow_heads(float* row, int heads, int narrow, int wide) {
  for (std::int64_t h = 1; h < heads && narrow != wide; ++h) std::copy_n(row + h * wide, narrow, row + h * narrow);
}

}  // namespace qjl::engine
