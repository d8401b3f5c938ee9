// Sixteen floats for any processor. Included inside a target's namespace, never by itself; lanes_avx2.hpp and lanes_avx512.hpp
// have the same names. Sums and fused steps differ between targets by fp32 rounding only.
struct F32x16 {
  float lane[16];
};

template <typename Lane>
QJL_LANES_INLINE F32x16 each(Lane lane_value) {
  F32x16 out;
  for (int i = 0; i < 16; ++i) out.lane[i] = lane_value(i);
  return out;
}
QJL_LANES_INLINE F32x16 broadcast(float x) {
  return each([=](int) { return x; });
}
QJL_LANES_INLINE F32x16 load(const float* p) {
  return each([=](int i) { return p[i]; });
}
QJL_LANES_INLINE void store(float* p, F32x16 x) { std::memcpy(p, x.lane, sizeof x.lane); }
QJL_LANES_INLINE F32x16 add(F32x16 a, F32x16 b) {
  return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
QJL_LANES_INLINE F32x16 mul(F32x16 a, F32x16 b) {
  return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
QJL_LANES_INLINE F32x16 div(F32x16 a, F32x16 b) {
  return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
QJL_LANES_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
QJL_LANES_INLINE F32x16 clamp(F32x16 x, float low, float high) {
  return each([&](int i) { return x.lane[i] < low ? low : x.lane[i] > high ? high : x.lane[i]; });
}
// Adding and taking away 1.5 * 2^23 leaves the nearest integer of |x| < 2^22.
QJL_LANES_INLINE F32x16 round_to_int(F32x16 x) {
  return each([&](int i) { return (x.lane[i] + 12582912.0f) - 12582912.0f; });
}
// 2^n of integers n in [-126, 127].
QJL_LANES_INLINE F32x16 power_of_two(F32x16 n) {
  return each([&](int i) { return std::bit_cast<float>((static_cast<std::int32_t>(n.lane[i]) + 127) << 23); });
}
QJL_LANES_INLINE float sum(F32x16 x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.lane[i] += x.lane[i + width];
  }
  return x.lane[0];
}
QJL_LANES_INLINE F32x16 broadcast_f16(const std::byte* p) { return broadcast(f16_to_f32(load_u16(p))); }
QJL_LANES_INLINE F32x16 load_f16(const std::byte* p) {
  return each([=](int i) { return f16_to_f32(load_u16(p + 2 * i)); });
}
QJL_LANES_INLINE F32x16 load_bf16(const std::byte* p) {
  return each([=](int i) { return bf16_to_f32(load_u16(p + 2 * i)); });
}
QJL_LANES_INLINE F32x16 load_i8(const std::byte* p) {
  return each([=](int i) { return static_cast<float>(static_cast<std::int8_t>(p[i])); });
}
// Sixteen bytes hold 32 nibbles: the low ones are numbers 0-15, the high ones 16-31.
struct NibblePair {
  F32x16 low, high;
};
QJL_LANES_INLINE NibblePair load_nibbles(const std::byte* p) {
  return {each([=](int i) { return static_cast<float>(static_cast<int>(p[i]) & 15); }),
          each([=](int i) { return static_cast<float>(static_cast<int>(p[i]) >> 4); })};
}
