// The row operations for one target: included inside its namespace after its lanes. ops.hpp has the formulas.

#include "lanes_exp.hpp"

QJL_LANES_INLINE F32x16 silu_product(F32x16 gate, F32x16 up) {
  const F32x16 one = broadcast(1.0f);
  return mul(div(gate, add(one, exponential(mul(gate, broadcast(-1.0f))))), up);
}

inline void rms_norm(const float* x, const float* weight, double epsilon, std::int64_t n, float* out) {
  F32x16 squares = broadcast(0.0f);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) squares = fma(load(x + i), load(x + i), squares);
  float total = sum(squares);
  for (; i < n; ++i) total += x[i] * x[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(total / static_cast<double>(n) + epsilon));
  for (i = 0; i + 16 <= n; i += 16) store(out + i, mul(mul(load(x + i), broadcast(scale)), load(weight + i)));
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

inline void add_rows(float* x, const float* y, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(x + i, add(load(x + i), load(y + i)));
  for (; i < n; ++i) x[i] += y[i];
}

inline void silu_mul(float* gate, const float* up, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(gate + i, silu_product(load(gate + i), load(up + i)));
  for (; i < n; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

inline constexpr RowOps kRowOps = {rms_norm, add_rows, silu_mul};
