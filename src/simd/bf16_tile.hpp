// The product of a tile in bf16, for the target avx512bf16 (QJL_ONLY_BF16_PRODUCTS).
//
//   sum[n][v][lane] += sum_i b[i][v][lane].low a[n][2 i] + b[i][v][lane].high a[n][2 i + 1]
//
// b holds pairs in 32-bit lanes, a is row-major. 12 rows and two registers are 24 sums of 32 registers.
#if defined(QJL_SIMD_BF16_TILE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_BF16_TILE
#undef QJL_SIMD_BF16_TILE
#else
#define QJL_SIMD_BF16_TILE
#endif

#include <cstdint>
#include <cstring>

#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

struct Bf16Tile {
  const std::uint32_t* b;
  std::int64_t b_stride;  // pairs from one step to the next
  const std::uint16_t* a;
  std::int64_t a_stride;  // numbers from one row to the next
  std::int64_t steps;
};

template <int V, int N>
QJL_INLINE void add_tile(const Bf16Tile& tile, f32x16 (&sum)[N][V]) {
  const std::uint32_t* b = tile.b;
  for (std::int64_t i = 0; i < tile.steps; ++i, b += tile.b_stride) {
    __m512i pairs[V];
    for (int v = 0; v < V; ++v) pairs[v] = _mm512_loadu_si512(b + 16 * v);
    for (int n = 0; n < N; ++n) {
      std::int32_t pair;
      std::memcpy(&pair, tile.a + n * tile.a_stride + 2 * i, sizeof pair);
      const auto both = (__m512bh)_mm512_set1_epi32(pair);
      for (int v = 0; v < V; ++v) sum[n][v] = _mm512_dpbf16_ps(sum[n][v], (__m512bh)pairs[v], both);
    }
  }
}

// Two registers of numbers as 16 pairs (first[lane], second[lane]).
QJL_INLINE __m512i bf16_pairs(f32x16 first, f32x16 second) {
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i order = _mm512_or_si512(lane, _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(16)), 16));
  return _mm512_permutexvar_epi16(order, halves);
}

QJL_INLINE void store_bf16(std::uint16_t* out, f32x16 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)_mm512_cvtneps_pbh(x));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
