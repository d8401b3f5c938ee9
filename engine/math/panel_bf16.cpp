// Panels of bf16 pairs from packed weights, and their products; panel_bf16.hpp has the formula.
#define QJL_THIS_FILE "panel_bf16.cpp"
#define QJL_ONLY_BF16_PRODUCTS
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstdint>

#include "bf16_tile.hpp"
#include "lanes.hpp"
#include "packed_codes.hpp"
#include "panel_bf16.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

struct Line {  // w = scale * code + offset of 16 rows
  f32x16 scale, offset;
  QJL_INLINE f32x16 number(u32x16 codes, int shift) const {
    return fused_multiply_add(scale, to_f32(as_i32(codes >> shift & splat_u32(255))), offset);
  }
};

// Four columns of 16 rows: two rows of the panel.
QJL_INLINE void unpack_four(const Line& line, u32x16 codes, std::uint32_t* out, std::int64_t stride) {
  _mm512_storeu_si512(out, bf16_pairs(line.number(codes, 0), line.number(codes, 8)));
  _mm512_storeu_si512(out + stride, bf16_pairs(line.number(codes, 16), line.number(codes, 24)));
}

template <CodeWidth width>
inline void unpack_blocks(const PackedWeight& w, std::int64_t group, std::uint32_t* out, std::int64_t stride) {
  constexpr std::int64_t kScales = scales_of(width);
  const f32x16 centre = splat(-w.centre());
  for (std::int64_t b = 0; b < w.blocks(); ++b, out += kBlockColumns / 2 * stride) {
    Line line[kScales];
    for (std::int64_t i = 0; i < kScales; ++i) {
      line[i].scale = load_half(w.scales(group) + (b * kScales + i) * PackedWeight::kScaleBytes);
      line[i].offset = w.has_offsets() ? load_half(w.offsets(group) + b * PackedWeight::kScaleBytes) : line[i].scale * centre;
    }
    u32x16 codes[8];
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
  f32x16 sum[N][V];
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) sum[n][v] = splat(0.0f);
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
  for (std::int64_t i = 0; i < n; i += 16) store_bf16(out + i, load(x + i));
}

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#else

#include "panel_bf16.hpp"

namespace qjl::engine {

#if defined(__x86_64__)
void round_to_bf16(const float* x, std::int64_t n, std::uint16_t* out) { avx512bf16::round_rows(x, n, out); }
void multiply_panel_bf16(const PanelProduct& product) { avx512bf16::multiply(product); }
#else
void round_to_bf16(const float*, std::int64_t, std::uint16_t*) {}
void multiply_panel_bf16(const PanelProduct&) {}
#endif

}  // namespace qjl::engine

#endif
