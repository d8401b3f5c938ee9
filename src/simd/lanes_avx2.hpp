// One register of 8 lanes, by AVX2 with fused multiply-adds and conversions of halves.
// lanes.hpp includes it, and nothing else does.
#include <cstdint>

#include "registers.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

QJL_INLINE void fill(float x, NativeF& v) { v = _mm256_set1_ps(x); }
QJL_INLINE NativeF fused_multiply_add(NativeF a, NativeF b, NativeF c) { return _mm256_fmadd_ps(a, b, c); }
QJL_INLINE NativeF min(NativeF a, NativeF b) { return _mm256_min_ps(a, b); }
QJL_INLINE NativeF max(NativeF a, NativeF b) { return _mm256_max_ps(a, b); }
QJL_INLINE NativeF sqrt(NativeF a) { return _mm256_sqrt_ps(a); }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
