// One body, compiled once per instruction set; half_step() is the conversion of the hardware where there is one.
#include "rounding.hpp"

#include <algorithm>
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

namespace scalar {
constexpr std::int64_t kStep = 1;
inline std::uint16_t to_half(float number);
inline void half_step(const float* in, std::uint16_t* out) { *out = to_half(*in); }
#include "rounding_body.hpp"
}  // namespace scalar

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
namespace avx2 {
constexpr std::int64_t kStep = 8;
inline void half_step(const float* in, std::uint16_t* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(_mm256_loadu_ps(in), _MM_FROUND_TO_NEAREST_INT));
}
#include "rounding_body.hpp"
}  // namespace avx2
QJL_TARGET_END

QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
namespace avx512 {
constexpr std::int64_t kStep = 16;
inline void half_step(const float* in, std::uint16_t* out) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(_mm512_loadu_ps(in), _MM_FROUND_TO_NEAREST_INT));
}
#include "rounding_body.hpp"
}  // namespace avx512
QJL_TARGET_END
#elif defined(__aarch64__)
namespace neon {
constexpr std::int64_t kStep = 4;
inline void half_step(const float* in, std::uint16_t* out) { vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(in)))); }
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
