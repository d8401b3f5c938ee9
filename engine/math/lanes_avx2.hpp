// Sixteen floats in two AVX2 registers. Included inside a target's namespace, never by itself; names as in lanes_scalar.hpp.
struct F32x16 {
  __m256 low, high;
};

QJL_LANES_INLINE F32x16 broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
QJL_LANES_INLINE F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
QJL_LANES_INLINE void store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
QJL_LANES_INLINE F32x16 add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
QJL_LANES_INLINE F32x16 mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
QJL_LANES_INLINE F32x16 div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
QJL_LANES_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
QJL_LANES_INLINE F32x16 clamp(F32x16 x, float low, float high) {
  const __m256 least = _mm256_set1_ps(low), most = _mm256_set1_ps(high);
  return {_mm256_min_ps(_mm256_max_ps(x.low, least), most), _mm256_min_ps(_mm256_max_ps(x.high, least), most)};
}
QJL_LANES_INLINE F32x16 round_to_int(F32x16 x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kNearest), _mm256_round_ps(x.high, kNearest)};
}
QJL_LANES_INLINE __m256 power_of_two_half(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
QJL_LANES_INLINE F32x16 power_of_two(F32x16 n) { return {power_of_two_half(n.low), power_of_two_half(n.high)}; }
QJL_LANES_INLINE float sum(F32x16 x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
QJL_LANES_INLINE __m128i load_128(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
QJL_LANES_INLINE F32x16 broadcast_f16(const std::byte* p) {
  const __m256 x = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(load_u16(p))));
  return {x, x};
}
QJL_LANES_INLINE F32x16 load_f16(const std::byte* p) { return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 16))}; }
QJL_LANES_INLINE __m256 bf16_half(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
QJL_LANES_INLINE F32x16 load_bf16(const std::byte* p) { return {bf16_half(load_128(p)), bf16_half(load_128(p + 16))}; }
QJL_LANES_INLINE F32x16 load_i8(const std::byte* p) {
  const __m128i x = load_128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))};
}
struct NibblePair {
  F32x16 low, high;
};
QJL_LANES_INLINE NibblePair load_nibbles(const std::byte* p) {
  const __m128i x = load_128(p), mask = _mm_set1_epi8(15);
  const __m128i low = _mm_and_si128(x, mask), high = _mm_and_si128(_mm_srli_epi16(x, 4), mask);
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(low, 8)))},
          {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(high, 8)))}};
}
