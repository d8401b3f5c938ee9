// Sixteen floats in one AVX-512 register. Included inside a target's namespace, never by itself; names as in lanes_scalar.hpp.
using F32x16 = __m512;

QJL_LANES_INLINE F32x16 broadcast(float x) { return _mm512_set1_ps(x); }
QJL_LANES_INLINE F32x16 load(const float* p) { return _mm512_loadu_ps(p); }
QJL_LANES_INLINE void store(float* p, F32x16 x) { _mm512_storeu_ps(p, x); }
QJL_LANES_INLINE F32x16 add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
QJL_LANES_INLINE F32x16 mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
QJL_LANES_INLINE F32x16 div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
QJL_LANES_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
QJL_LANES_INLINE F32x16 clamp(F32x16 x, float low, float high) {
  return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}
QJL_LANES_INLINE F32x16 round_to_int(F32x16 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
QJL_LANES_INLINE F32x16 power_of_two(F32x16 n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
QJL_LANES_INLINE float sum(F32x16 x) { return _mm512_reduce_add_ps(x); }
QJL_LANES_INLINE __m256i load_256(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
QJL_LANES_INLINE F32x16 broadcast_f16(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(load_u16(p))));
}
QJL_LANES_INLINE F32x16 load_f16(const std::byte* p) { return _mm512_cvtph_ps(load_256(p)); }
QJL_LANES_INLINE F32x16 load_bf16(const std::byte* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_256(p)), 16));
}
QJL_LANES_INLINE F32x16 load_i8(const std::byte* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
struct NibblePair {
  F32x16 low, high;
};
// A register of the floats 0..15 is the table; the permutation looks at the low four bits of each lane.
QJL_LANES_INLINE NibblePair load_nibbles(const std::byte* p) {
  const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm512_permutexvar_ps(bytes, table), _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), table)};
}
