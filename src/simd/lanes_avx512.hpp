// One register of 16 lanes.
// lanes.hpp includes it, and nothing else does.
#include <cstdint>

#include "registers.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

QJL_INLINE void fill(float x, NativeF& v) { v = _mm512_set1_ps(x); }
QJL_INLINE NativeF fused_multiply_add(NativeF a, NativeF b, NativeF c) { return _mm512_fmadd_ps(a, b, c); }
QJL_INLINE NativeF min(NativeF a, NativeF b) { return _mm512_min_ps(a, b); }
QJL_INLINE NativeF max(NativeF a, NativeF b) { return _mm512_max_ps(a, b); }
QJL_INLINE NativeF sqrt(NativeF a) { return _mm512_sqrt_ps(a); }
QJL_INLINE float reduce_max(NativeF a) { return _mm512_reduce_max_ps(a); }
QJL_INLINE float reduce_add(NativeF a) { return _mm512_reduce_add_ps(a); }
QJL_INLINE NativeF power_of_two(NativeF n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
QJL_INLINE NativeF splat_half_lanes(std::uint16_t half) { return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(half))); }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
QJL_INLINE NativeF bfloat_lanes(const std::uint16_t* p) {
  return (NativeF)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16);
}

QJL_INLINE f32x16 load_i8(const void* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
// A register of the floats 0..15 is the table; the permutation looks at the low four bits of each lane.
QJL_INLINE TwoVectors load_nibbles(const void* p) {
  const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return {_mm512_permutexvar_ps(bytes, table), _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), table)};
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
