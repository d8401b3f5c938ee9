// Bytes of a register of 64 by AVX-512, whatever multiplies them (dot_avx512.hpp, dot_vnni.hpp). Included inside a target's
// namespace, never by itself; dot_scalar.hpp has the meaning.
using Bytes64 = __m512i;
using I32x16 = __m512i;

QJL_LANES_INLINE Bytes64 load_bytes(const std::byte* p) { return _mm512_loadu_si512(p); }
QJL_LANES_INLINE Bytes64 low_nibbles(Bytes64 x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
QJL_LANES_INLINE Bytes64 high_nibbles(Bytes64 x) { return low_nibbles(_mm512_srli_epi16(x, 4)); }
// Shifts of 16 bits carry bits into the neighbour byte, never to where the mask looks.
template <int from, int count>
QJL_LANES_INLINE Bytes64 high_bits(Bytes64 codes, Bytes64 planes) {
  const __m512i moved = from < 4 ? _mm512_slli_epi16(planes, 4 - from) : _mm512_srli_epi16(planes, from - 4);
  return _mm512_or_si512(codes, _mm512_and_si512(moved, _mm512_set1_epi8(((1 << count) - 1) << 4)));
}
QJL_LANES_INLINE I32x16 no_sum() { return _mm512_setzero_si512(); }
QJL_LANES_INLINE __m512i four_bytes(const std::int8_t* x) {
  std::int32_t bytes;
  std::memcpy(&bytes, x, sizeof bytes);
  return _mm512_set1_epi32(bytes);
}
QJL_LANES_INLINE I32x16 times_128(I32x16 x) { return _mm512_slli_epi32(x, 7); }
QJL_LANES_INLINE F32x16 to_float(I32x16 x) { return _mm512_cvtepi32_ps(x); }
