// The state of a softmax that is computed piece by piece, and how pieces merge.
//
//   max = the reference m of the logits, sum = sum_t exp(s_t - m), out[d] = sum_t exp(s_t - m) v_t
//   merge: m = max(m_a, m_b), everything else scaled by exp(m_a - m) and exp(m_b - m) and added
//   lse = m + ln(sum), out / sum is the attention output
//
// A piece that has seen nothing is max = -infinity, sum = 0, out = 0. No step makes a NaN of it.
#pragma once

#include <cmath>
#include <limits>

#include "hd.hpp"

namespace qjl {

inline constexpr float kLog2E = 1.44269504f;  // exp(x) = 2^(x log2 e)

struct SoftmaxState {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0f;

  QJL_HD bool empty() const { return max == -std::numeric_limits<float>::infinity(); }
};

// exp(from - to) for a piece whose reference moves to `to` >= from; 0 for an empty piece.
QJL_HD inline float rescale_factor(float from, float to) {
  return from == -std::numeric_limits<float>::infinity() ? 0.0f : std::exp(from - to);
}

// Merges piece b into piece a: out_a, out_b [head_dim].
QJL_HD inline void merge(SoftmaxState& a, float* out_a, const SoftmaxState& b, const float* out_b, int head_dim) {
  if (b.empty()) return;
  const float max = a.max > b.max ? a.max : b.max, scale_a = rescale_factor(a.max, max), scale_b = rescale_factor(b.max, max);
  for (int c = 0; c < head_dim; ++c) out_a[c] = scale_a * out_a[c] + scale_b * out_b[c];
  a = {max, scale_a * a.sum + scale_b * b.sum};
}

// Natural logarithm of the sum of exponentials; -infinity for an empty piece.
QJL_HD inline float log_sum_exp(const SoftmaxState& state) { return state.empty() ? state.max : state.max + std::log(state.sum); }

}  // namespace qjl
