// Exponentials of 16 lanes, three forms.
//
//   exp          softmax: 2^n 2^f, n = round(x log2 e), |f| <= 1/2; 2^f by a polynomial of degree 6. x log2 e is rounded once, so
//                the relative error is 3e-7 near 0 and grows with |x|, where a weight is small beside the largest;
//                x < -87 gives 0, so that nothing is subnormal
//   exp2_below   softmax of byte loops, whose weights are rounded to 8 bits: 2^x for x <= 0, relative error below 2e-7
//   exponential  activations, whose results are held to fp32's own rounding: what n takes off is two parts of ln 2, so that the
//                rest is exact whatever x is; one fused step more
//   tanh         sign(x) (1 - 2 / (exp(2|x|) + 1)), absolute error below 4e-7
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

// 2^x, x <= 0: 2^floor(x) times a polynomial of degree 5 in the fraction; relative error below 2e-7, exactly 1 at 0.
QJL_INLINE f32x16 exp2_below(f32x16 x) {
#if QJL_LANES == 16
  const f32x16 f = _mm512_reduce_ps(x, 1);  // x - floor(x)
#else
  x = max(x, splat(-126.0f));
  const f32x16 whole = round_even(x - splat(0.5f)), f = x - whole;
#endif
  f32x16 p = splat(1.8671305e-3f);
  p = fused_multiply_add(p, f, splat(9.0170289e-3f));
  p = fused_multiply_add(p, f, splat(5.5799913e-2f));
  p = fused_multiply_add(p, f, splat(2.4016444e-1f));
  p = fused_multiply_add(p, f, splat(6.9315130e-1f));
  p = fused_multiply_add(p, f, splat(1.0f));
#if QJL_LANES == 16
  return _mm512_scalef_ps(p, x);
#else
  return as_f32(as_u32(p) + (as_u32(to_i32(whole)) << 23));
#endif
}

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts so that r is exact to fp32, then a polynomial of
// degree 6 (Cephes expf). x is kept to the range where 2^n is normal.
QJL_INLINE f32x16 exponential(f32x16 x) {
  x = min(max(x, splat(-87.0f)), splat(88.0f));
  const f32x16 n = round_even(x * splat(kLog2E));
  const f32x16 r = fused_multiply_add(n, splat(2.12194440e-4f), fused_multiply_add(n, splat(-0.693359375f), x));
  f32x16 p = splat(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = fused_multiply_add(p, r, splat(c));
  }
  p = fused_multiply_add(p, r * r, r + splat(1.0f));
  return p * power_of_two(n);
}

QJL_INLINE f32x16 tanh(f32x16 x) {
  const f32x16 size = min(abs(x), splat(20.0f));
  const f32x16 result = splat(1.0f) - splat(2.0f) / (exp(size + size) + splat(1.0f));
  return as_f32(as_u32(result) | (as_u32(x) & splat_u32(0x80000000u)));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
