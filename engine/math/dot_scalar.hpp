// Dot products of four bytes a lane for any processor. Included inside a target's namespace, never by itself; dot_avx2.hpp,
// dot_avx512.hpp and dot_vnni.hpp have the same names.
//
//   dot_small(sum, w, x)[lane] = sum[lane] + sum_i w[4 lane + i] x[i]                w unsigned, at most 63; x four signed bytes
//   dot_bytes(sum, w, x)[lane] = sum[lane] + sum_i (w[4 lane + i] - kSigned) x[i]    w unsigned
//
//   high_bits<from, count>(codes, planes)          codes, with `count` bits of each byte of planes, from bit `from` on, above bit 3
//
// kSigned is 128 where the hardware wants two signed bytes, and 0 where it takes unsigned ones: the caller puts back the rest.
inline constexpr float kSigned = 0.0f;
struct Bytes64 {
  std::uint8_t byte[64];
};
struct I32x16 {
  std::int32_t lane[16];
};

QJL_LANES_INLINE Bytes64 load_bytes(const std::byte* p) {
  Bytes64 out;
  std::memcpy(out.byte, p, sizeof out.byte);
  return out;
}
QJL_LANES_INLINE Bytes64 low_nibbles(Bytes64 x) {
  for (std::uint8_t& byte : x.byte) byte &= 15;
  return x;
}
QJL_LANES_INLINE Bytes64 high_nibbles(Bytes64 x) {
  for (std::uint8_t& byte : x.byte) byte >>= 4;
  return x;
}
template <int from, int count>
QJL_LANES_INLINE Bytes64 high_bits(Bytes64 codes, const Bytes64& planes) {
  constexpr int kMask = ((1 << count) - 1) << 4;
  for (int i = 0; i < 64; ++i) codes.byte[i] = static_cast<std::uint8_t>(codes.byte[i] | (planes.byte[i] << 4 >> from & kMask));
  return codes;
}
QJL_LANES_INLINE I32x16 no_sum() { return {}; }
QJL_LANES_INLINE I32x16 dot_bytes(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  for (int lane = 0; lane < 16; ++lane) {
    for (int i = 0; i < 4; ++i) sum.lane[lane] += w.byte[4 * lane + i] * x[i];
  }
  return sum;
}
QJL_LANES_INLINE I32x16 dot_small(I32x16 sum, Bytes64 w, const std::int8_t* x) { return dot_bytes(sum, w, x); }
QJL_LANES_INLINE I32x16 times_128(I32x16 x) {
  for (std::int32_t& lane : x.lane) lane *= 128;
  return x;
}
QJL_LANES_INLINE F32x16 to_float(I32x16 x) {
  return each([&](int i) { return static_cast<float>(x.lane[i]); });
}
