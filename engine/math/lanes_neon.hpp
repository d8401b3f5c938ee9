// Sixteen floats in four NEON registers. Included inside a target's namespace, never by itself; names as in lanes_scalar.hpp.
struct F32x16 {
  float32x4_t part[4];
};

template <typename Part>
QJL_LANES_INLINE F32x16 each(Part part_value) {
  return {{part_value(0), part_value(1), part_value(2), part_value(3)}};
}
QJL_LANES_INLINE F32x16 broadcast(float x) {
  return each([=](int) { return vdupq_n_f32(x); });
}
QJL_LANES_INLINE F32x16 load(const float* p) {
  return each([=](int i) { return vld1q_f32(p + 4 * i); });
}
QJL_LANES_INLINE void store(float* p, F32x16 x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.part[i]);
}
QJL_LANES_INLINE F32x16 add(F32x16 a, F32x16 b) {
  return each([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
}
QJL_LANES_INLINE F32x16 mul(F32x16 a, F32x16 b) {
  return each([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
QJL_LANES_INLINE F32x16 div(F32x16 a, F32x16 b) {
  return each([&](int i) { return vdivq_f32(a.part[i], b.part[i]); });
}
QJL_LANES_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return each([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
QJL_LANES_INLINE F32x16 clamp(F32x16 x, float low, float high) {
  return each([&](int i) { return vminq_f32(vmaxq_f32(x.part[i], vdupq_n_f32(low)), vdupq_n_f32(high)); });
}
QJL_LANES_INLINE F32x16 round_to_int(F32x16 x) {
  return each([&](int i) { return vrndnq_f32(x.part[i]); });
}
QJL_LANES_INLINE F32x16 power_of_two(F32x16 n) {
  return each([&](int i) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.part[i]), vdupq_n_s32(127)), 23)); });
}
QJL_LANES_INLINE float sum(F32x16 x) {
  return vaddvq_f32(vaddq_f32(vaddq_f32(x.part[0], x.part[2]), vaddq_f32(x.part[1], x.part[3])));
}
QJL_LANES_INLINE uint16x4_t load_4_u16(const std::byte* p) {
  return vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(p)));
}
QJL_LANES_INLINE F32x16 broadcast_f16(const std::byte* p) {
  const float32x4_t x = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(load_u16(p))));
  return each([=](int) { return x; });
}
QJL_LANES_INLINE F32x16 load_f16(const std::byte* p) {
  return each([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(load_4_u16(p + 8 * i))); });
}
QJL_LANES_INLINE F32x16 load_bf16(const std::byte* p) {
  return each([=](int i) { return vreinterpretq_f32_u32(vshll_n_u16(load_4_u16(p + 8 * i), 16)); });
}
QJL_LANES_INLINE F32x16 floats_of_i8(int8x16_t x) {
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}
QJL_LANES_INLINE F32x16 load_i8(const std::byte* p) { return floats_of_i8(vld1q_s8(reinterpret_cast<const std::int8_t*>(p))); }
struct NibblePair {
  F32x16 low, high;
};
QJL_LANES_INLINE NibblePair load_nibbles(const std::byte* p) {
  const uint8x16_t x = vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
  return {floats_of_i8(vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)))), floats_of_i8(vreinterpretq_s8_u8(vshrq_n_u8(x, 4)))};
}
