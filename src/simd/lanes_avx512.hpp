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
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
