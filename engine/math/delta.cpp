// Delta operations, compiled once per instruction set. delta.hpp has the formulas.
#define QJL_THIS_FILE "delta.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <cmath>
#include <cstdint>

#include "delta.hpp"
#include "exp.hpp"
#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

inline void convolve(const float* const* rows, const float* taps, int kernel, std::int64_t n, float* out) {
  const f32x16 one = splat(1.0f);
  std::int64_t c = 0;
  for (; c + 16 <= n; c += 16) {
    f32x16 sum = splat(0.0f);
    for (int j = 0; j < kernel; ++j) sum = fused_multiply_add(load(rows[j] + c), load(taps + j * n + c), sum);
    store(out + c, sum / (one + exponential(sum * splat(-1.0f))));
  }
  for (; c < n; ++c) {
    float sum = 0.0f;
    for (int j = 0; j < kernel; ++j) sum += rows[j][c] * taps[j * n + c];
    out[c] = sum / (1.0f + std::exp(-sum));
  }
}

// 16 N columns of the state: what they are wrong about and what they answer stays in registers.
template <int N>
QJL_INLINE void delta_columns(const DeltaStep& step, std::int64_t key_dim, std::int64_t value_dim, std::int64_t column,
                              float* state, float* out) {
  const f32x16 decay = splat(step.decay), rate = splat(step.rate);
  f32x16 wrong[N], answer[N];
  for (int v = 0; v < N; ++v) wrong[v] = answer[v] = splat(0.0f);
  for (std::int64_t i = 0; i < key_dim; ++i) {
    const float* row = state + i * value_dim + column;
    const f32x16 key = splat(step.key[i]);
    for (int v = 0; v < N; ++v) wrong[v] = fused_multiply_add(load(row + 16 * v) * decay, key, wrong[v]);
  }
  for (int v = 0; v < N; ++v) wrong[v] = (load(step.value + column + 16 * v) - wrong[v]) * rate;
  for (std::int64_t i = 0; i < key_dim; ++i) {
    float* row = state + i * value_dim + column;
    const f32x16 key = splat(step.key[i]), query = splat(step.query[i]);
    for (int v = 0; v < N; ++v) {
      const f32x16 learnt = fused_multiply_add(wrong[v], key, load(row + 16 * v) * decay);
      store(row + 16 * v, learnt);
      answer[v] = fused_multiply_add(learnt, query, answer[v]);
    }
  }
  for (int v = 0; v < N; ++v) store(out + column + 16 * v, answer[v]);
}

inline void delta(const DeltaStep& step, std::int64_t key_dim, std::int64_t value_dim, float* state, float* out) {
  std::int64_t column = 0;
  for (; column + 32 <= value_dim; column += 32) delta_columns<2>(step, key_dim, value_dim, column, state, out);
  for (; column + 16 <= value_dim; column += 16) delta_columns<1>(step, key_dim, value_dim, column, state, out);
  for (; column < value_dim; ++column) {
    float wrong = 0.0f, answer = 0.0f;
    for (std::int64_t i = 0; i < key_dim; ++i) wrong += state[i * value_dim + column] * step.decay * step.key[i];
    wrong = (step.value[column] - wrong) * step.rate;
    for (std::int64_t i = 0; i < key_dim; ++i) {
      float& number = state[i * value_dim + column];
      number = number * step.decay + step.key[i] * wrong;
      answer += number * step.query[i];
    }
    out[column] = answer;
  }
}

inline constexpr DeltaOps kDeltaOps = {convolve, delta};

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#else

namespace qjl::engine {

const DeltaOps& delta_ops(SimdTarget target) { return QJL_ON_TARGET(target, kDeltaOps); }
const DeltaOps& delta_ops() { return delta_ops(simd_target()); }

}  // namespace qjl::engine

#endif
