// Scores of keys whose codes are strings (trellis.hpp): levels times an int8 query, as of nibbles, but a level's index is made of a
// window of bits.
//
//   index = A0 own byte ^ A1 byte below ^ ...      8 x 8 matrices of bits: one instruction each (gf2p8affineqb)
//
// A step of all four groups of a word meets four neighbouring coordinates of the query. Cost a step and frame: the matrices (one or
// two), a look-up, and a dot a row.
#if defined(QJL_BYTES_STRINGS_AVX512VBMI) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_STRINGS_AVX512VBMI
#undef QJL_BYTES_STRINGS_AVX512VBMI
#else
#define QJL_BYTES_STRINGS_AVX512VBMI
#endif

#include <cstdint>

#include "bytes/fetch.hpp"
#include "bytes/query.hpp"
#include "bytes/scores_avx512vbmi.hpp"
#include "bytes/shape.hpp"
#include "page.hpp"
#include "tile/strings.hpp"
#include "trellis.hpp"

#if QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// What byte `source` of a group (-1: the last byte of the group before) adds to the index at a step: byte 7 - o of the matrix selects
// the bits of the source whose columns have bit o. 0 when the window does not reach it.
constexpr std::uint64_t window_matrix(Code code, int step, int source) {
  std::uint64_t matrix = 0;
  for (int b = 0; b < trellis(code).window_bits; ++b) {
    const int bit = first_window_bit(code, step) + b - 8 * source;
    if (bit < 0 || bit >= 8) continue;
    for (int o = 0; o < 8; ++o) {
      if ((trellis(code).column[b] >> o & 1) != 0) matrix |= std::uint64_t{1} << (8 * (7 - o) + bit);
    }
  }
  return matrix;
}

template <int kStep, int kSource = -1, Code kCode, int kBytes>
QJL_INLINE __m512i matrix_index(const StringGroups<kCode, kBytes, u32x16>& groups) {
  constexpr std::uint64_t kMatrix = window_matrix(kCode, kStep, kSource);
  __m512i part = _mm512_setzero_si512();
  if constexpr (kMatrix != 0) {
    const __m512i source = (__m512i)(kSource < 0 ? groups.before : groups.own[kSource < 0 ? 0 : kSource]);
    part = _mm512_gf2p8affine_epi64_epi8(source, _mm512_set1_epi64(static_cast<long long>(kMatrix)), 0);
  }
  if constexpr (kSource + 1 < kBytes) {
    return _mm512_xor_si512(part, matrix_index<kStep, kSource + 1>(groups));
  }
  return part;
}

template <Code kCode, int kRows>
inline void string_scores(const BytesQuery& q, int d, const ScoredPage& page) {
  constexpr int kBytes = key_group(traits(kCode)).bytes, kSteps = key_group(traits(kCode)).steps, kLines = 4 * kBytes;
  const __m512i levels = _mm512_load_si512(kShiftedLevels<kCode>.of);
  const std::uint8_t* keys = page.keys;
  const int words = d / (4 * kSteps);
  for (int half = 0; half < layout::kHalves; ++half) {
    NumberDots<kRows> dots;
    __m512i last[4];
    QJL_UNROLL
    for (int i = 0; i < 4; ++i) {
      last[i] = _mm512_load_si512(keys + ((words - 1) * kLines + (i + 1) * kBytes - 1) * layout::kLineBytes);
    }
    for (int word = 0; word < words; ++word, keys += kLines * layout::kLineBytes) {
      KeyGroups<kCode, u32x16> groups[4];
      QJL_UNROLL
      for (int i = 0; i < 4; ++i) {
        QJL_UNROLL
        for (int p = 0; p < kBytes; ++p) {
          groups[i].own[p] = (u32x16)_mm512_load_si512(keys + (i * kBytes + p) * layout::kLineBytes);
        }
        const __m512i top = (__m512i)groups[i].own[kBytes - 1];
        groups[i].before = (u32x16)_mm512_or_si512(_mm512_slli_epi32(top, 8), _mm512_srli_epi32(last[i], 24));
        last[i] = top;
      }
      kRows == 1 ? page.fetcher->step() : ask<kLines>(keys, page.ahead);
      each_step<kSteps>([&]<int kStep>() __attribute__((always_inline)) {
        __m512i level[4];
        QJL_UNROLL
        for (int i = 0; i < 4; ++i) level[i] = _mm512_permutexvar_epi8(matrix_index<kStep>(groups[i]), levels);
        dots.add(level, q, 4 * (word * kSteps + kStep), kStep);
      });
    }
    dots.store(q, page, half);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
