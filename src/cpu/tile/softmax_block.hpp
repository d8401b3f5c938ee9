// One block of 64 tokens enters the running softmax of every row.
//
//   s = cap tanh(s / cap) when there is a cap; tokens outside [first, last] of the row do not count
//   m' = max(m, max s), weights = exp(s - m'), sum = sum exp(m - m') + sum weights, accumulators rescaled by exp(m - m')
//
// The reference m only moves when a block exceeds it, so the accumulators are mostly left alone.
#if defined(QJL_TILE_SOFTMAX_BLOCK) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_SOFTMAX_BLOCK
#undef QJL_TILE_SOFTMAX_BLOCK
#else
#define QJL_TILE_SOFTMAX_BLOCK
#endif

#include <cstdint>
#include <limits>

#include "exp.hpp"
#include "lanes.hpp"
#include "piece.hpp"
#include "tile/accumulators.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Which token a column is: column 16 v + j stands at first + lane_step j + vector_step v of the block's own `count` positions.
struct ColumnOrder {
  std::int32_t first, lane_step, vector_step, count;
};

// scores [64] of one row become weights; returns whether any token counts.
inline bool softmax_row(const Accumulators& state, int row, const Window& window, const ColumnOrder& order, float soft_cap,
                        float* scores) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  f32x16 s[4];
  f32x16 largest = splat(kNothing);
  const bool masked = window.hides_some(order.count);
  for (int v = 0; v < 4; ++v) {
    s[v] = load(scores + 16 * v);
    if (soft_cap > 0.0f) s[v] = tanh(s[v] / splat(soft_cap)) * splat(soft_cap);
    if (masked) {
      const i32x16 token = lane_numbers() * splat_i32(order.lane_step) + splat_i32(order.first + order.vector_step * v);
      s[v] = select(token >= splat_i32(window.first), s[v], splat(kNothing));
      s[v] = select(token <= splat_i32(window.last), s[v], splat(kNothing));
    }
    largest = max(largest, s[v]);
  }
  const float block_max = reduce_max(largest);
  if (block_max == kNothing) {
    for (int v = 0; v < 4; ++v) store(scores + 16 * v, splat(0.0f));
    return false;
  }
  if (block_max > state.reference[row]) move_reference(state, row, block_max);
  f32x16 sum = load(state.sums + row * 16);
  for (int v = 0; v < 4; ++v) {
    const f32x16 weight = exp(s[v] - splat(state.reference[row]));
    sum = sum + weight;
    store(scores + 16 * v, weight);
  }
  store(state.sums + row * 16, sum);
  return true;
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
