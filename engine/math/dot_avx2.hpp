// Dot products of four bytes a lane by AVX2. Included inside a target's namespace, never by itself; dot_scalar.hpp has the meaning.
// Two products of bytes are added in 16 bits: 63 * 127 * 2 fits, and so does 128 * 127 * 2 of two signed bytes, |w| times x with
// w's sign.
inline constexpr float kSigned = 128.0f;
struct Bytes64 {
  __m256i low, high;
};
struct I32x16 {
  __m256i low, high;
};

QJL_LANES_INLINE Bytes64 load_bytes(const std::byte* p) {
  const auto* registers = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(registers), _mm256_loadu_si256(registers + 1)};
}
QJL_LANES_INLINE Bytes64 low_nibbles(Bytes64 x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.low, mask), _mm256_and_si256(x.high, mask)};
}
QJL_LANES_INLINE Bytes64 high_nibbles(Bytes64 x) {
  return low_nibbles({_mm256_srli_epi16(x.low, 4), _mm256_srli_epi16(x.high, 4)});
}
// Shifts of 16 bits carry bits into the neighbour byte, never to where the mask looks.
template <int from, int count>
QJL_LANES_INLINE __m256i high_bits_half(__m256i codes, __m256i planes) {
  const __m256i moved = from < 4 ? _mm256_slli_epi16(planes, 4 - from) : _mm256_srli_epi16(planes, from - 4);
  return _mm256_or_si256(codes, _mm256_and_si256(moved, _mm256_set1_epi8(((1 << count) - 1) << 4)));
}
template <int from, int count>
QJL_LANES_INLINE Bytes64 high_bits(Bytes64 codes, Bytes64 planes) {
  return {high_bits_half<from, count>(codes.low, planes.low), high_bits_half<from, count>(codes.high, planes.high)};
}
QJL_LANES_INLINE I32x16 no_sum() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
QJL_LANES_INLINE __m256i four_bytes(const std::int8_t* x) {
  std::int32_t bytes;
  std::memcpy(&bytes, x, sizeof bytes);
  return _mm256_set1_epi32(bytes);
}
QJL_LANES_INLINE __m256i dot_half(__m256i sum, __m256i w, __m256i x) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
QJL_LANES_INLINE I32x16 dot_small(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  const __m256i bytes = four_bytes(x);
  return {dot_half(sum.low, w.low, bytes), dot_half(sum.high, w.high, bytes)};
}
QJL_LANES_INLINE __m256i dot_signed_half(__m256i sum, __m256i w, __m256i x) {
  const __m256i with_sign = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  return dot_half(sum, _mm256_abs_epi8(with_sign), _mm256_sign_epi8(x, with_sign));
}
QJL_LANES_INLINE I32x16 dot_bytes(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  const __m256i bytes = four_bytes(x);
  return {dot_signed_half(sum.low, w.low, bytes), dot_signed_half(sum.high, w.high, bytes)};
}
QJL_LANES_INLINE I32x16 times_128(I32x16 x) { return {_mm256_slli_epi32(x.low, 7), _mm256_slli_epi32(x.high, 7)}; }
QJL_LANES_INLINE F32x16 to_float(I32x16 x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
