// One register of 4 lanes, by NEON.
// lanes.hpp includes it, and nothing else does.
#include <cstdint>
#include <cstring>

#include "registers.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

QJL_INLINE void fill(float x, NativeF& v) { v = (NativeF)vdupq_n_f32(x); }
QJL_INLINE NativeF fused_multiply_add(NativeF a, NativeF b, NativeF c) {
  return (NativeF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
QJL_INLINE NativeF min(NativeF a, NativeF b) { return (NativeF)vminq_f32((float32x4_t)a, (float32x4_t)b); }
QJL_INLINE NativeF max(NativeF a, NativeF b) { return (NativeF)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
QJL_INLINE NativeF sqrt(NativeF a) { return (NativeF)vsqrtq_f32((float32x4_t)a); }
QJL_INLINE float reduce_max(NativeF a) { return vmaxvq_f32((float32x4_t)a); }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  float16x4_t halves;
  std::memcpy(&halves, p, sizeof(halves));
  return (NativeF)vcvt_f32_f16(halves);
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
