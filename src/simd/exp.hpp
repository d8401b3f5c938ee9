// exp and tanh of 16 lanes.
//
//   exp(x) = 2^n 2^f, n = round(x log2 e), |f| <= 1/2; 2^f by a polynomial of degree 6 (relative error 3e-7 with its rounding);
//            x < -87 gives 0, so that nothing is subnormal
//   tanh(x) = sign(x) (1 - 2 / (exp(2|x|) + 1)), absolute error below 4e-7
#if defined(QJL_SIMD_EXP) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_EXP
#undef QJL_SIMD_EXP
#else
#define QJL_SIMD_EXP
#endif

#include "lanes.hpp"
#include "softmax_state.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

// For x <= 88; -infinity gives 0.
QJL_INLINE f32x16 exp(f32x16 x) {
  const f32x16 power = max(x, splat(-87.0f)) * splat(kLog2E), whole = round_even(power), f = power - whole;
  f32x16 p = splat(1.5403530e-4f);
  p = fused_multiply_add(p, f, splat(1.3333558e-3f));
  p = fused_multiply_add(p, f, splat(9.6181291e-3f));
  p = fused_multiply_add(p, f, splat(5.5504109e-2f));
  p = fused_multiply_add(p, f, splat(2.4022651e-1f));
  p = fused_multiply_add(p, f, splat(6.9314718e-1f));
  p = fused_multiply_add(p, f, splat(1.0f));
  const u32x16 exponent = as_u32(to_i32(whole)) << 23;
  return select(x < splat(-87.0f), splat(0.0f), as_f32(as_u32(p) + exponent));
}

QJL_INLINE f32x16 tanh(f32x16 x) {
  const f32x16 size = min(abs(x), splat(20.0f));
  const f32x16 result = splat(1.0f) - splat(2.0f) / (exp(size + size) + splat(1.0f));
  return as_f32(as_u32(result) | (as_u32(x) & splat_u32(0x80000000u)));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
