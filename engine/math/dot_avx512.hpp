// Dot products of four bytes a lane by AVX-512 without VNNI. Included inside a target's namespace, never by itself;
// dot_scalar.hpp has the meaning, dot_avx2.hpp the reason why 16 bits suffice.
#include "bytes_avx512.hpp"

inline constexpr float kSigned = 128.0f;

QJL_LANES_INLINE I32x16 dot_pairs(I32x16 sum, __m512i w, __m512i x) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
}
QJL_LANES_INLINE I32x16 dot_small(I32x16 sum, Bytes64 w, const std::int8_t* x) { return dot_pairs(sum, w, four_bytes(x)); }
QJL_LANES_INLINE I32x16 dot_bytes(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  const __m512i bytes = four_bytes(x), with_sign = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
  const __m512i signed_x = _mm512_mask_sub_epi8(bytes, _mm512_movepi8_mask(with_sign), _mm512_setzero_si512(), bytes);
  return dot_pairs(sum, _mm512_abs_epi8(with_sign), signed_x);
}
