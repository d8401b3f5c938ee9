// One body, compiled once per instruction set; half_step() is the conversion of the hardware where there is one.
#include "rounding.hpp"

#include <bit>
#include <limits>

#include "half.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace qjl {
namespace {

constexpr float kHalfBeyond = 65520.0f;  // rounds to 65536
constexpr std::uint16_t kHalfInfinity = 0x7C00, kBfloatInfinity = 0x7F80;

namespace scalar {
constexpr std::int64_t kStep = 1;
// float_to_half() without a branch where the format can hold the number. A test compares the two.
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(*in), magnitude = bits & 0x7FFFFFFF;
  // Normal: exponent rebiased by -112, half of the last place minus one added, and one more when the last place is odd.
  const std::uint32_t normal = (magnitude + 0xC8000FFFu + (magnitude >> 13 & 1)) >> 13;
  // Below 2^-14 the processor rounds: 0.5 + x has its last place at 2^-24, that of a subnormal number.
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  // Signed, because every vector unit compares signed numbers.
  const auto ordered = static_cast<std::int32_t>(magnitude);
  *out = static_cast<std::uint16_t>((ordered < 0x38800000 ? subnormal : normal) | (bits >> 16 & 0x8000));
  return ordered >= std::bit_cast<std::int32_t>(kHalfBeyond);
}
#include "rounding_body.hpp"
}  // namespace scalar

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
namespace avx2 {
constexpr std::int64_t kStep = 8;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const __m256 x = _mm256_loadu_ps(in), magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(kHalfBeyond), _CMP_NLT_UQ)));
}
#include "rounding_body.hpp"
}  // namespace avx2
QJL_TARGET_END

QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
namespace avx512 {
constexpr std::int64_t kStep = 16;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const __m512 x = _mm512_loadu_ps(in);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(kHalfBeyond), _CMP_NLT_UQ);
}
#include "rounding_body.hpp"
}  // namespace avx512
QJL_TARGET_END
#elif defined(__aarch64__)
namespace neon {
constexpr std::int64_t kStep = 4;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const float32x4_t x = vld1q_f32(in);
  vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(x)));
  return ~vminvq_u32(vcltq_f32(vabsq_f32(x), vdupq_n_f32(kHalfBeyond)));
}
#include "rounding_body.hpp"
}  // namespace neon
#endif

}  // namespace

const Rounding& rounding(SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::kRounding;
  if (target == SimdTarget::avx2) return avx2::kRounding;
#elif defined(__aarch64__)
  if (target >= SimdTarget::neon) return neon::kRounding;
#endif
  static_cast<void>(target);
  return scalar::kRounding;
}

const Rounding& rounding() {
  static const Rounding& best = rounding(simd_target());
  return best;
}

}  // namespace qjl
