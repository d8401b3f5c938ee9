// Row operations, compiled once per instruction set. ops.hpp has the formulas.
#define QJL_THIS_FILE "ops.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "exp.hpp"
#include "lanes.hpp"
#include "ops.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

QJL_INLINE f32x16 silu_product(f32x16 gate, f32x16 up) {
  const f32x16 one = splat(1.0f);
  return gate / (one + exponential(gate * splat(-1.0f))) * up;
}

constexpr float kGeluCubic = 0.044715f;
constexpr float kGeluSlope = -1.5957691216f;  // -2 sqrt(2 / pi)

QJL_INLINE f32x16 gelu_product(f32x16 gate, f32x16 up) {
  const f32x16 one = splat(1.0f);
  const f32x16 exponent = gate * splat(kGeluSlope) * fused_multiply_add(gate * gate, splat(kGeluCubic), one);
  return gate / (one + exponential(exponent)) * up;
}

constexpr float kSwigluSlope = -1.702f, kSwigluLimit = 7.0f;

QJL_INLINE f32x16 clamped_swiglu_product(f32x16 gate, f32x16 up) {
  const f32x16 one = splat(1.0f), limit = splat(kSwigluLimit);
  const f32x16 g = min(gate, limit), u = max(min(up, limit), splat(-kSwigluLimit));
  return g / (one + exponential(g * splat(kSwigluSlope))) * (u + one);
}

inline void rms_norm(const float* x, const float* weight, double epsilon, std::int64_t n, float* out) {
  f32x16 squares = splat(0.0f);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) squares = fused_multiply_add(load(x + i), load(x + i), squares);
  float total = reduce_add(squares);
  for (; i < n; ++i) total += x[i] * x[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(total / static_cast<double>(n) + epsilon));
  for (i = 0; i + 16 <= n; i += 16) store(out + i, load(x + i) * splat(scale) * load(weight + i));
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

inline void add_rows(float* x, const float* y, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(x + i, load(x + i) + load(y + i));
  for (; i < n; ++i) x[i] += y[i];
}

inline void scale_row(float* x, float factor, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(x + i, load(x + i) * splat(factor));
  for (; i < n; ++i) x[i] *= factor;
}

inline void silu_mul(float* gate, const float* up, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(gate + i, silu_product(load(gate + i), load(up + i)));
  for (; i < n; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

inline void gelu_mul(float* gate, const float* up, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(gate + i, gelu_product(load(gate + i), load(up + i)));
  for (; i < n; ++i) {
    const float exponent = gate[i] * kGeluSlope * (gate[i] * gate[i] * kGeluCubic + 1.0f);
    gate[i] = gate[i] / (1.0f + std::exp(exponent)) * up[i];
  }
}

inline void clamped_swiglu_mul(float* gate, const float* up, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(gate + i, clamped_swiglu_product(load(gate + i), load(up + i)));
  for (; i < n; ++i) {
    const float g = std::min(gate[i], kSwigluLimit), u = std::clamp(up[i], -kSwigluLimit, kSwigluLimit);
    gate[i] = g / (1.0f + std::exp(g * kSwigluSlope)) * (u + 1.0f);
  }
}

inline constexpr RowOps kRowOps = {rms_norm, add_rows, scale_row, silu_mul, gelu_mul, clamped_swiglu_mul};

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#else

namespace qjl::engine {

const RowOps& row_ops(SimdTarget target) { return QJL_ON_TARGET(target, kRowOps); }
const RowOps& row_ops() { return row_ops(simd_target()); }

}  // namespace qjl::engine

#endif
