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
QJL_INLINE float reduce_max(NativeF a) {
  float largest = a[0];
  QJL_UNROLL
  for (int i = 1; i < QJL_LANES; ++i) largest = a[i] > largest ? a[i] : largest;
  return largest;
}
QJL_INLINE float reduce_add(NativeF a) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
QJL_INLINE NativeF power_of_two(NativeF n) {
  return (NativeF)_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
}
QJL_INLINE NativeF splat_half_lanes(std::uint16_t half) { return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(half))); }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
QJL_INLINE NativeF bfloat_lanes(const std::uint16_t* p) {
  return (NativeF)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16);
}

QJL_INLINE f32x16 floats_of_i8(__m128i x) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))};
}
QJL_INLINE f32x16 load_i8(const void* p) { return floats_of_i8(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
QJL_INLINE TwoVectors load_nibbles(const void* p) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(p)), mask = _mm_set1_epi8(15);
  return {floats_of_i8(_mm_and_si128(x, mask)), floats_of_i8(_mm_and_si128(_mm_srli_epi16(x, 4), mask))};
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
