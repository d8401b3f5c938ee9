// Dot products of four bytes a lane by NEON. Included inside a target's namespace, never by itself; dot_scalar.hpp has the meaning.
// Products of two signed bytes fit 16 bits; neighbours are added twice.
inline constexpr float kSigned = 128.0f;
struct Bytes64 {
  uint8x16_t part[4];
};
struct I32x16 {
  int32x4_t part[4];
};

QJL_LANES_INLINE Bytes64 load_bytes(const std::byte* p) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(p);
  return {{vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
}
QJL_LANES_INLINE Bytes64 low_nibbles(Bytes64 x) {
  for (uint8x16_t& part : x.part) part = vandq_u8(part, vdupq_n_u8(15));
  return x;
}
QJL_LANES_INLINE Bytes64 high_nibbles(Bytes64 x) {
  for (uint8x16_t& part : x.part) part = vshrq_n_u8(part, 4);
  return x;
}
template <int from, int count>
QJL_LANES_INLINE Bytes64 high_bits(Bytes64 codes, const Bytes64& planes) {
  const uint8x16_t mask = vdupq_n_u8(((1 << count) - 1) << 4);
  for (int i = 0; i < 4; ++i) {
    const uint8x16_t moved = vshlq_u8(planes.part[i], vdupq_n_s8(4 - from));
    codes.part[i] = vorrq_u8(codes.part[i], vandq_u8(moved, mask));
  }
  return codes;
}
QJL_LANES_INLINE I32x16 no_sum() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
QJL_LANES_INLINE I32x16 dot_signed(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  std::int32_t bytes;
  std::memcpy(&bytes, x, sizeof bytes);
  const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(bytes));
  for (int i = 0; i < 4; ++i) {
    const int8x16_t codes = vreinterpretq_s8_u8(w.part[i]);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(codes), vget_low_s8(four)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(codes, four));
    sum.part[i] = vaddq_s32(sum.part[i], vpaddq_s32(low, high));
  }
  return sum;
}
QJL_LANES_INLINE I32x16 dot_small(I32x16 sum, Bytes64 w, const std::int8_t* x) { return dot_signed(sum, w, x); }
QJL_LANES_INLINE I32x16 dot_bytes(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  for (uint8x16_t& part : w.part) part = veorq_u8(part, vdupq_n_u8(128));
  return dot_signed(sum, w, x);
}
QJL_LANES_INLINE I32x16 times_128(I32x16 x) {
  for (int32x4_t& part : x.part) part = vshlq_n_s32(part, 7);
  return x;
}
QJL_LANES_INLINE F32x16 to_float(I32x16 x) {
  return each([&](int i) { return vcvtq_f32_s32(x.part[i]); });
}
