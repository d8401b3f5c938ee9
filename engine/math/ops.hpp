// The steps between matrix products, on rows of fp32.
//
//   rms_norm   out[i] = weight[i] * x[i] / sqrt(mean(x^2) + epsilon)
//   add        x[i] += y[i]
//   scale      x[i] *= factor
//   silu_mul   gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]
//   gelu_mul   gate[i] = gate[i] / (1 + exp(-2 u)) * up[i], u = sqrt(2 / pi) (gate[i] + 0.044715 gate[i]^3): the form of GELU with
//              tanh, 0.5 x (1 + tanh(u)), without its cancellation where u is far below 0
//   clamped_swiglu_mul   gate[i] = g / (1 + exp(-1.702 g)) * (1 + u), g = min(gate[i], 7), u = up[i] within +-7: gpt-oss'
//
// Vectorised for the chosen target; the exponential has a relative error below 2e-7.
#pragma once

#include <cstdint>

#include "qjl/simd.hpp"

namespace qjl::engine {

struct RowOps {
  void (*rms_norm)(const float* x, const float* weight, double epsilon, std::int64_t n, float* out);  // out may be x
  void (*add)(float* x, const float* y, std::int64_t n);
  void (*scale)(float* x, float factor, std::int64_t n);
  void (*silu_mul)(float* gate, const float* up, std::int64_t n);
  void (*gelu_mul)(float* gate, const float* up, std::int64_t n);
  void (*clamped_swiglu_mul)(float* gate, const float* up, std::int64_t n);
};

const RowOps& row_ops();                   // on the chosen target
const RowOps& row_ops(SimdTarget target);  // on any that simd_targets() names

}  // namespace qjl::engine
