// One body, compiled once per instruction set; half_step() is the conversion of the hardware where there is one.
#define QJL_THIS_FILE "rounding.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <bit>
#include <cstdint>
#include <limits>

#include "half.hpp"
#include "rounding.hpp"

QJL_PASS_BEGIN
namespace qjl::core::QJL_NAMESPACE {

constexpr float kHalfBeyond = 65520.0f;  // rounds to 65536
constexpr std::uint16_t kHalfInfinity = 0x7C00, kBfloatInfinity = 0x7F80;

// half_step() rounds kStep numbers and returns 0 when f16 can hold them.
#if QJL_LANES == 16
constexpr std::int64_t kStep = 16;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const __m512 x = _mm512_loadu_ps(in);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(kHalfBeyond), _CMP_NLT_UQ);
}
#elif QJL_LANES == 8
constexpr std::int64_t kStep = 8;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const __m256 x = _mm256_loadu_ps(in), magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(kHalfBeyond), _CMP_NLT_UQ)));
}
#elif QJL_NEON
constexpr std::int64_t kStep = 4;
inline unsigned half_step(const float* in, std::uint16_t* out) {
  const float32x4_t x = vld1q_f32(in);
  vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(x)));
  return ~vminvq_u32(vcltq_f32(vabsq_f32(x), vdupq_n_f32(kHalfBeyond)));
}
#else
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
#endif

// The other loops have no branch, so that the compiler makes vectors of them.
inline bool stretch_to_half(const float* in, std::int64_t count, std::uint16_t* out) {
  unsigned beyond = 0;
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) beyond |= half_step(in + i, out + i);
  for (; i < count; ++i) {
    out[i] = float_to_half(in[i]);
    beyond |= (out[i] & kHalfInfinity) == kHalfInfinity;
  }
  return beyond == 0;
}

inline bool stretch_to_bfloat(const float* in, std::int64_t count, std::uint16_t* out) {
  unsigned beyond = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = float_to_bfloat(in[i]);
    beyond |= (out[i] & kBfloatInfinity) == kBfloatInfinity;
  }
  return beyond == 0;
}

// Bits: signed, because magnitudes are below the sign bit and every vector unit compares signed numbers.
template <typename Bits>
bool any_above(const Bits* bits, std::int64_t count, Bits limit) {
  Bits above = 0;
  for (std::int64_t i = 0; i < count; ++i) above |= static_cast<Bits>((bits[i] & std::numeric_limits<Bits>::max()) >= limit);
  return above != 0;
}

inline constexpr Rounding kRounding = {stretch_to_half, stretch_to_bfloat, any_above<std::int32_t>, any_above<std::int16_t>};

}  // namespace qjl::core::QJL_NAMESPACE
QJL_PASS_END

#else

namespace qjl {

const Rounding& rounding(SimdTarget target) {
  using namespace core;
  return QJL_ON_TARGET(target, kRounding);
}

const Rounding& rounding() {
  static const Rounding& best = rounding(simd_target());
  return best;
}

}  // namespace qjl

#endif
