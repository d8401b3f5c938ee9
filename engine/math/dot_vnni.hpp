// Dot products of four bytes a lane by AVX-512 VNNI, one instruction. Included inside a target's namespace, never by itself;
// dot_scalar.hpp has the meaning.
#include "bytes_avx512.hpp"

inline constexpr float kSigned = 0.0f;

QJL_LANES_INLINE I32x16 dot_bytes(I32x16 sum, Bytes64 w, const std::int8_t* x) {
  return _mm512_dpbusd_epi32(sum, w, four_bytes(x));
}
QJL_LANES_INLINE I32x16 dot_small(I32x16 sum, Bytes64 w, const std::int8_t* x) { return dot_bytes(sum, w, x); }
