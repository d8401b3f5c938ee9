// The 128 scales of a page from their 8-bit codes, slot order: largest * 2^((code - 255) / 32), 0 for code 0.
//
// AVX-512: code = 32 octave + i. A table of 32 entries holds T_i = largest * 2^((i + 1) / 32), and the scale is T_i 2^(octave - 8):
// as integers, bits(T_i) + (octave - 8) 2^23. With bits(T_i) - (8 * 2^23 + i * 2^18) in the table what is left to add is
// code * 2^18. The same bits as the products of the other targets, since a power of two rounds nothing; scales near the ends of
// the floats go the plain way.
#if defined(QJL_TILE_SCALES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_SCALES
#undef QJL_TILE_SCALES
#else
#define QJL_TILE_SCALES
#endif

#include <cstdint>

#include "estimator.hpp"
#include "lanes.hpp"
#include "page.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

#if QJL_LANES == 16
struct ScaleSteps {
  float step[kScaleStepsPerOctave];  // 2^((i + 1) / 32)
  std::uint32_t less[kScaleStepsPerOctave];
};
constexpr ScaleSteps scale_steps() {
  ScaleSteps s{};
  for (int i = 0; i < kScaleStepsPerOctave; ++i) {
    s.step[i] = i + 1 < kScaleStepsPerOctave ? kScaleTables.step[i + 1] : 2.0f;
    s.less[i] = (8u << 23) + (static_cast<std::uint32_t>(i) << 18);
  }
  return s;
}
inline constexpr ScaleSteps kScaleSteps = scale_steps();

QJL_INLINE __m512i scale_entries(int first, float largest) {
  const f32x16 entry = load(kScaleSteps.step + first) * splat(largest);
  return (__m512i)(as_u32(entry) - load_u32(kScaleSteps.less + first));
}
#endif

inline void decode_scales(const std::uint8_t* codes, float largest, float* scales) {
#if QJL_LANES == 16
  if (largest > 0x1p-100f && largest < 0x1p100f) {
    const __m512i low = scale_entries(0, largest), high = scale_entries(16, largest);
    QJL_UNROLL
    for (int slot = 0; slot < layout::kPageTokens; slot += 16) {
      const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + slot)));
      const __m512i entry = _mm512_permutex2var_epi32(low, code, high);
      const __m512i bits = _mm512_maskz_add_epi32(_mm512_test_epi32_mask(code, code), entry, _mm512_slli_epi32(code, 18));
      _mm512_storeu_si512(scales + slot, bits);
    }
    return;
  }
#endif
  for (int slot = 0; slot < layout::kPageTokens; ++slot) scales[slot] = largest * kScaleFactors.of[codes[slot]];
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
