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
QJL_INLINE float reduce_add(NativeF a) {
  const float32x2_t two = vadd_f32(vget_low_f32((float32x4_t)a), vget_high_f32((float32x4_t)a));
  return vget_lane_f32(vpadd_f32(two, two), 0);
}
QJL_INLINE NativeF power_of_two(NativeF n) {
  return (NativeF)vshlq_n_s32(vaddq_s32(vcvtq_s32_f32((float32x4_t)n), vdupq_n_s32(127)), 23);
}
QJL_INLINE NativeF splat_half_lanes(std::uint16_t half) { return (NativeF)vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))); }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  float16x4_t halves;
  std::memcpy(&halves, p, sizeof(halves));
  return (NativeF)vcvt_f32_f16(halves);
}
QJL_INLINE NativeF bfloat_lanes(const std::uint16_t* p) { return (NativeF)vshll_n_u16(vld1_u16(p), 16); }

QJL_INLINE f32x16 floats_of_i8(int8x16_t x) {
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return {{(NativeF)vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), (NativeF)vcvtq_f32_s32(vmovl_high_s16(low))},
          {(NativeF)vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), (NativeF)vcvtq_f32_s32(vmovl_high_s16(high))}};
}
QJL_INLINE f32x16 load_i8(const void* p) { return floats_of_i8(vld1q_s8(static_cast<const std::int8_t*>(p))); }
QJL_INLINE TwoVectors load_nibbles(const void* p) {
  const uint8x16_t x = vld1q_u8(static_cast<const std::uint8_t*>(p));
  return {floats_of_i8(vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)))), floats_of_i8(vreinterpretq_s8_u8(vshrq_n_u8(x, 4)))};
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
