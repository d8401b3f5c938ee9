// The scale of a coded vector, and the 8-bit codes of a page's scales.
//
//   scale  |x|^2 / <x, r>, r = sum_f P_f^T level[c_f], 0 for x = 0        code  in steps below the page's largest (estimator.hpp)
#if defined(QJL_ENCODE_SCALES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_SCALES
#undef QJL_ENCODE_SCALES
#else
#define QJL_ENCODE_SCALES
#endif

#include <cstdint>

#include "estimator.hpp"
#include "lanes.hpp"
#include "page.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

QJL_INLINE f32x16 safe_divide(f32x16 a, f32x16 b) {  // a / b, 0 where b <= 0
  const i32x16 positive = b > splat(0.0f);
  return select(positive, a / select(positive, b, splat(1.0f)), splat(0.0f));
}

// |x|^2 / <x, r>, see estimator.hpp; 0 for a zero vector.
QJL_INLINE f32x16 closing_scale(f32x16 squared, f32x16 dot) { return safe_divide(squared, dot); }

// scale_code() of 16 slots: as many steps as thresholds are reached. Where a scale is 0 or `largest` is, the ratio is too small or
// NaN.
QJL_INLINE u32x16 scale_codes(const f32x16& scale, float largest) {
  const f32x16 ratio = scale / splat(largest);
  const i32x16 coded = ratio >= splat(0.5f * scale_factor(1));
  const f32x16 mantissa = as_f32((as_u32(ratio) & splat_u32(0x7fffffu)) | splat_u32(0x3f800000u));
  const i32x16 octave = as_i32(as_u32(ratio) >> 23) - splat_i32(127);
  i32x16 code = octave * splat_i32(kScaleStepsPerOctave) + splat_i32(kScaleCodeMax);
  for (const float threshold : kScaleTables.threshold) code = code - (mantissa >= splat(threshold));
  code = select(code < splat_i32(1), splat_i32(1), code);
  code = select(code > splat_i32(kScaleCodeMax), splat_i32(kScaleCodeMax), code);
  return as_u32(select(coded, code, splat_i32(0)));
}

// 8-bit codes of the page's scales [128]; returns their maximum.
inline float encode_scales(const float* scales, std::uint8_t* codes) {
  f32x16 most = splat(0.0f);
  for (int slot = 0; slot < layout::kPageTokens; slot += 16) most = max(most, load(scales + slot));
  const float largest = reduce_max(most);
  for (int slot = 0; slot < layout::kPageTokens; slot += 16) {
    alignas(64) std::uint32_t code[16];
    store_u32(code, scale_codes(load(scales + slot), largest));
    for (int i = 0; i < 16; ++i) codes[slot + i] = static_cast<std::uint8_t>(code[i]);
  }
  return largest;
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
