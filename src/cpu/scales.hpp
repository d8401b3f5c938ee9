// The 128 scales of a page from their 8-bit codes, slot order: largest * 2^((code - 255) / 32), 0 for code 0.
//
// AVX-512 looks the 32 steps of an octave up in two registers and adds the octave to the exponent: the same bits as the table.
// Header of a pass: see foreach_target.hpp. Needs simd.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

inline void decode_scales(const std::uint8_t* codes, float largest, float* scales) {
#if QJL_LANES == 16
  const __m512 low = _mm512_loadu_ps(kScaleTables.step), high = _mm512_loadu_ps(kScaleTables.step + 16);
  for (int slot = 0; slot < layout::kPageTokens; slot += 16) {
    const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + slot)));
    const __m512i steps = _mm512_add_epi32(code, _mm512_set1_epi32(1));  // 32 * (octave + 8) + step, as in scale_factor()
    const __m512i step = _mm512_castps_si512(_mm512_permutex2var_ps(low, steps, high));
    const __m512i octave = _mm512_sub_epi32(_mm512_srli_epi32(steps, 5), _mm512_set1_epi32(8));
    const __m512i factor = _mm512_add_epi32(step, _mm512_slli_epi32(octave, 23));
    const __m512 scale = _mm512_mul_ps(_mm512_castsi512_ps(factor), _mm512_set1_ps(largest));
    store(scales + slot, _mm512_maskz_mov_ps(_mm512_test_epi32_mask(code, code), scale));
  }
#else
  for (int slot = 0; slot < layout::kPageTokens; ++slot) scales[slot] = largest * kScaleFactors.of[codes[slot]];
#endif
}

}  // namespace qjl::cpu::QJL_NAMESPACE
