// The steps of a gated delta net that go over a token's row or over a head's state, on fp32.
//
//   convolve   out[c] = silu(sum_j taps[j][c] rows[j][c]), silu(x) = x / (1 + exp(-x)): rows of the last tokens, its own last
//   delta      S <- decay S;  d = rate (v - S^T k);  S <- S + k d^T;  out = S^T q          S [key_dim, value_dim], row-major
//
// Vectorised for the chosen target. Cost of delta: S is read twice, from the first-level cache the second time, and written once.
// Source: Gated Delta Networks (arXiv 2412.06464), eq. 10.
#pragma once

#include <cstdint>

#include "qjl/simd.hpp"

namespace qjl::engine {

// Of one token and value head.
struct DeltaStep {
  const float *query, *key, *value;  // [key_dim] twice, [value_dim]
  float decay, rate;
};

struct DeltaOps {
  void (*convolve)(const float* const* rows, const float* taps, int kernel, std::int64_t n, float* out);  // taps [kernel, n]
  void (*delta)(const DeltaStep& step, std::int64_t key_dim, std::int64_t value_dim, float* state, float* out);
};

const DeltaOps& delta_ops();                   // on the chosen target
const DeltaOps& delta_ops(SimdTarget target);  // on any that simd_targets() names

}  // namespace qjl::engine
