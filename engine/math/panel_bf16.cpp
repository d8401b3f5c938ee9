// Panels of bf16 pairs from packed weights, and their products: AVX-512 with BF16 alone.
#include "panel_bf16.hpp"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bf16_tile.hpp"
#include "qjl/simd.hpp"
#include "quants.hpp"

#define QJL_LANES_INLINE [[gnu::always_inline]] inline

namespace qjl::engine {

#if defined(__x86_64__)

QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
namespace avx512bf16 {

#include "lanes_avx512.hpp"
// bytes follow the lanes
#include "bytes_avx512.hpp"
// codes follow the bytes
#include "packed_codes.hpp"
using simd::avx512bf16::add_tile, simd::avx512bf16::bf16_pairs, simd::avx512bf16::store_bf16;

struct Line {  // w = scale * code + offset of 16 rows
  __m512 scale, offset;
  template <int shift>
  __m512 number(__m512i codes) const {
    const __m512i code = _mm512_and_si512(_mm512_srli_epi32(codes, shift), _mm512_set1_epi32(255));
    return _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(code), offset);
  }
};

// Four columns of 16 rows: two rows of the panel.
inline void unpack_four(const Line& line, __m512i codes, std::uint32_t* out, std::int64_t stride) {
  _mm512_storeu_si512(out, bf16_pairs(line.number<0>(codes), line.number<8>(codes)));
  _mm512_storeu_si512(out + stride, bf16_pairs(line.number<16>(codes), line.number<24>(codes)));
}

template <CodeWidth width>
inline void unpack_blocks(const PackedWeight& w, std::int64_t group, std::uint32_t* out, std::int64_t stride) {
  constexpr std::int64_t kScales = scales_of(width);
  const __m512 centre = _mm512_set1_ps(-w.centre());
  for (std::int64_t b = 0; b < w.blocks(); ++b, out += kBlockColumns / 2 * stride) {
    Line line[kScales];
    for (std::int64_t i = 0; i < kScales; ++i) {
      line[i].scale = load_f16(w.scales(group) + (b * kScales + i) * PackedWeight::kScaleBytes);
      line[i].offset = w.has_offsets() ? load_f16(w.offsets(group) + b * PackedWeight::kScaleBytes) : mul(line[i].scale, centre);
    }
    Bytes64 codes[8];
    load_codes<width>(w.codes(group) + b * code_bytes_of(width), codes);
    for (std::int64_t j = 0; j < 8; ++j) unpack_four(line[j * kScales / 8], codes[j], out + 2 * j * stride, stride);
  }
}

inline void unpack_group(const PackedWeight& w, std::int64_t group, std::uint32_t* out, std::int64_t stride) {
  switch (w.width()) {
    case CodeWidth::nibbles: return unpack_blocks<CodeWidth::nibbles>(w, group, out, stride);
    case CodeWidth::fives: return unpack_blocks<CodeWidth::fives>(w, group, out, stride);
    case CodeWidth::sixes: return unpack_blocks<CodeWidth::sixes>(w, group, out, stride);
    case CodeWidth::bytes: return unpack_blocks<CodeWidth::bytes>(w, group, out, stride);
  }
}

// V registers of 16 rows, N tokens.
template <int V, int N>
inline void multiply_tile(const PanelProduct& p, std::int64_t token) {
  const std::int64_t columns = p.weight->columns();
  __m512 sum[N][V];
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) sum[n][v] = _mm512_setzero_ps();
  }
  add_tile<V, N>({p.panel, V * kGroupRows, p.x + token * columns, columns, columns / 2}, sum);
  for (int v = 0; v < V; ++v) {
    const std::int64_t row = (p.group_begin + v) * kGroupRows, rows = std::min(kGroupRows, p.weight->rows() - row);
    const auto mask = static_cast<__mmask16>((1u << rows) - 1u);
    for (int n = 0; n < N; ++n) _mm512_mask_storeu_ps(p.out + (token + n) * p.out_stride + row, mask, sum[n][v]);
  }
}

template <int V>
inline void multiply_tokens(const PanelProduct& p) {
  std::int64_t token = 0;
  for (; token + 12 <= p.tokens; token += 12) multiply_tile<V, 12>(p, token);
  for (; token + 4 <= p.tokens; token += 4) multiply_tile<V, 4>(p, token);
  for (; token < p.tokens; ++token) multiply_tile<V, 1>(p, token);
}

inline void multiply(const PanelProduct& p) {
  const std::int64_t groups = p.group_end - p.group_begin, stride = groups * kGroupRows;
  for (std::int64_t g = 0; g < groups; ++g) unpack_group(*p.weight, p.group_begin + g, p.panel + g * kGroupRows, stride);
  groups == 1 ? multiply_tokens<1>(p) : multiply_tokens<2>(p);
}

inline void round_rows(const float* x, std::int64_t n, std::uint16_t* out) {
  for (std::int64_t i = 0; i < n; i += 16) store_bf16(out + i, _mm512_loadu_ps(x + i));
}

}  // namespace avx512bf16
QJL_TARGET_END

void round_to_bf16(const float* x, std::int64_t n, std::uint16_t* out) { avx512bf16::round_rows(x, n, out); }
void multiply_panel_bf16(const PanelProduct& product) { avx512bf16::multiply(product); }

#else

void round_to_bf16(const float*, std::int64_t, std::uint16_t*) {}
void multiply_panel_bf16(const PanelProduct&) {}

#endif

}  // namespace qjl::engine
