// Matrix-vector products on stored weights, compiled once per instruction set.
//
// A format decodes 32 numbers to two vectors; a tile of kTileRows rows times N tokens shares the loads of x, and every decoded
// vector serves N products. Formats without a fast decoder go through dequantize() in stretches of 256 numbers.
#define QJL_THIS_FILE "matvec.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lanes.hpp"
#include "quants.hpp"
#include "weights.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

struct FormatF32 {
  static constexpr int kBytes = 128;
  QJL_INLINE static TwoVectors decode(const std::byte* block) {
    const auto* numbers = reinterpret_cast<const float*>(block);
    return {load(numbers), load(numbers + 16)};
  }
};
struct FormatF16 {
  static constexpr int kBytes = 64;
  QJL_INLINE static TwoVectors decode(const std::byte* block) { return {load_half(block), load_half(block + 32)}; }
};
struct FormatBf16 {
  static constexpr int kBytes = 64;
  QJL_INLINE static TwoVectors decode(const std::byte* block) { return {load_bfloat(block), load_bfloat(block + 32)}; }
};
struct FormatQ8_0 {
  static constexpr int kBytes = 34;
  QJL_INLINE static TwoVectors decode(const std::byte* block) {
    const f32x16 scale = splat_half(block);
    return {scale * load_i8(block + 2), scale * load_i8(block + 18)};
  }
};
struct FormatQ4_0 {
  static constexpr int kBytes = 18;
  QJL_INLINE static TwoVectors decode(const std::byte* block) {
    const f32x16 scale = splat_half(block), centre = splat(-8.0f);
    const TwoVectors level = load_nibbles(block + 2);
    return {scale * (level.low + centre), scale * (level.high + centre)};
  }
};
struct FormatQ4_1 {
  static constexpr int kBytes = 20;
  QJL_INLINE static TwoVectors decode(const std::byte* block) {
    const f32x16 scale = splat_half(block), offset = splat_half(block + 2);
    const TwoVectors level = load_nibbles(block + 4);
    return {fused_multiply_add(scale, level.low, offset), fused_multiply_add(scale, level.high, offset)};
  }
};

// R rows from `row` on, N tokens: out[n][row + r].
template <typename Format, int N, int R>
inline void matvec_tile(const MatvecArgs& a, std::int64_t row) {
  TwoVectors sums[R][N];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) sums[r][n] = {splat(0.0f), splat(0.0f)};
  }
  const std::byte* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = a.weight->row(row + r);
  const std::int64_t num_blocks = a.weight->columns / 32;
  for (std::int64_t b = 0; b < num_blocks; ++b) {
    for (int r = 0; r < R; ++r) {
      const TwoVectors w = Format::decode(rows[r] + b * Format::kBytes);
      for (int n = 0; n < N; ++n) {
        const float* x = a.x.data + n * a.x.stride + 32 * b;
        sums[r][n] = {fused_multiply_add(w.low, load(x), sums[r][n].low),
                      fused_multiply_add(w.high, load(x + 16), sums[r][n].high)};
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) a.out[n * a.out_stride + row + r] = reduce_add(sums[r][n].low + sums[r][n].high);
  }
}

template <typename Format, int N>
void matvec_format(const MatvecArgs& a) {
  constexpr int kTileRows = N == 1 ? 4 : 2;  // as many sums as registers allow
  std::int64_t row = a.row_begin;
  for (; row + kTileRows <= a.row_end; row += kTileRows) matvec_tile<Format, N, kTileRows>(a, row);
  for (; row < a.row_end; ++row) matvec_tile<Format, N, 1>(a, row);
}

inline float dot(const float* a, const float* b, std::int64_t n) {
  f32x16 sums = splat(0.0f);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) sums = fused_multiply_add(load(a + i), load(b + i), sums);
  float rest = 0.0f;
  for (; i < n; ++i) rest += a[i] * b[i];
  return reduce_add(sums) + rest;
}

inline void matvec_any(const MatvecArgs& a) {
  constexpr std::int64_t kStretch = 256;
  float w[kStretch];
  const int numbers = block_numbers(a.weight->type), bytes = block_bytes(a.weight->type);
  for (std::int64_t row = a.row_begin; row < a.row_end; ++row) {
    for (std::int64_t n = 0; n < a.x.tokens; ++n) a.out[n * a.out_stride + row] = 0.0f;
    for (std::int64_t c = 0; c < a.weight->columns; c += kStretch) {
      const std::int64_t count = std::min(kStretch, a.weight->columns - c);
      dequantize(a.weight->type, a.weight->row(row) + c / numbers * bytes, count, w);
      for (std::int64_t n = 0; n < a.x.tokens; ++n) a.out[n * a.out_stride + row] += dot(w, a.x.data + n * a.x.stride + c, count);
    }
  }
}

template <typename Format>
void matvec_tokens(const MatvecArgs& a) {
  switch (a.x.tokens) {
    case 1: return matvec_format<Format, 1>(a);
    case 2: return matvec_format<Format, 2>(a);
    case 3: return matvec_format<Format, 3>(a);
    default: return matvec_format<Format, 4>(a);
  }
}

inline void matvec(const MatvecArgs& a) {
  if (a.weight->columns % 32 != 0) return matvec_any(a);
  switch (a.weight->type) {
    case WeightType::f32: return matvec_tokens<FormatF32>(a);
    case WeightType::f16: return matvec_tokens<FormatF16>(a);
    case WeightType::bf16: return matvec_tokens<FormatBf16>(a);
    case WeightType::q8_0: return matvec_tokens<FormatQ8_0>(a);
    case WeightType::q4_0: return matvec_tokens<FormatQ4_0>(a);
    case WeightType::q4_1: return matvec_tokens<FormatQ4_1>(a);
    case WeightType::q5_0:
    case WeightType::q5_1:
    case WeightType::q2_k:
    case WeightType::q3_k:
    case WeightType::iq1_s:
    case WeightType::iq1_m:
    case WeightType::iq2_xxs:
    case WeightType::iq2_xs:
    case WeightType::iq2_s:
    case WeightType::iq3_xxs:
    case WeightType::iq3_s:
    case WeightType::iq4_nl:
    case WeightType::iq4_xs:
    case WeightType::mxfp4:
    case WeightType::q4_k:
    case WeightType::q5_k:
    case WeightType::q6_k: return matvec_any(a);
  }
}

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#else

namespace qjl::engine {

void matvec(const MatvecArgs& args, SimdTarget target) { return QJL_ON_TARGET(target, matvec)(args); }
void matvec(const MatvecArgs& args) { matvec(args, simd_target()); }

}  // namespace qjl::engine

#endif
