// Weighted sums of values: out[row][channel] += sum_j weight[row][j] * tile[j][channel], 16 tokens and 16 channels at a time.
//
//   sealed:  one accumulator per value frame, in the frame's coordinates; the weights carry the values' scales
//   minmax:  one accumulator in plain coordinates
#if defined(QJL_TILE_WEIGH_VALUES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_WEIGH_VALUES
#undef QJL_TILE_WEIGH_VALUES
#else
#define QJL_TILE_WEIGH_VALUES
#endif

#include <cstdint>

#include "lanes.hpp"
#include "page.hpp"
#include "tile/block.hpp"
#include "tile/sealed_page.hpp"
#include "tile/value_tile.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

template <int NumRows>
QJL_INLINE void weigh_block(const float* weights, const ValueTile& tile, float* out, std::int64_t stride) {
  f32x16 sum[NumRows];
  QJL_UNROLL
  for (int r = 0; r < NumRows; ++r) sum[r] = load(out + r * stride);
  QJL_UNROLL
  for (int j = 0; j < 16; ++j) {
    QJL_UNROLL
    for (int r = 0; r < NumRows; ++r) sum[r] = fused_multiply_add(splat(weights[r * kBlockTokens + j]), tile[j], sum[r]);
  }
  QJL_UNROLL
  for (int r = 0; r < NumRows; ++r) store(out + r * stride, sum[r]);
}

// weights [rows][64] from the first of the 16 tokens; out rows `stride` floats apart.
QJL_INLINE void weigh_tile(const float* weights, int rows, const ValueTile& tile, float* out, std::int64_t stride) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) weigh_block<4>(weights + row * kBlockTokens, tile, out + row * stride, stride);
  switch (rows - row) {
    case 1: weigh_block<1>(weights + row * kBlockTokens, tile, out + row * stride, stride); break;
    case 2: weigh_block<2>(weights + row * kBlockTokens, tile, out + row * stride, stride); break;
    case 3: weigh_block<3>(weights + row * kBlockTokens, tile, out + row * stride, stride); break;
    default: break;
  }
}

// The four frames of a half page: lines of frame 4h on; frames [rows][8][channels].
template <Code kCode>
inline void weigh_half(const layout::PageShape& shape, const std::uint8_t* values, int half, const float* weights, int rows,
                       float* frames) {
  const int channels = shape.head_dim * shape.value.frames, blocks = channels / 16;
  const std::int64_t frame_bytes = std::int64_t{layout::value_lines_per_frame(shape.value, shape.head_dim)} * layout::kLineBytes;
  for (int i = 0; i < 4; ++i) {
    const int frame = 4 * half + i;
    for (int block = 0; block < blocks; ++block) {
      ValueTile tile;
      value_tile<kCode>(values + frame * frame_bytes, block, blocks, tile);
      weigh_tile(weights + 16 * i, rows, tile, frames + frame * channels + 16 * block, std::int64_t{layout::kFrames} * channels);
    }
  }
}

inline void weigh_rotated(const layout::PageShape& shape, const std::uint8_t* values, int half, const float* weights, int rows,
                          float* frames) {
  with_value_frame_code(shape.value_code, [&]<Code kCode>() { weigh_half<kCode>(shape, values, half, weights, rows, frames); });
}

inline void weigh_minmax(const SealedPage& page, int half, const float* weights, int rows, float* out) {
  const layout::PageShape& shape = page.tables->shape;
  for (int group = 0; group < kBlockTokens; group += 16) {
    for (int c = 0; c < shape.head_dim; c += 16) {
      ValueTile tile;
      minmax_values(shape, *page.at, page.body, layout::kHalfSlots * half + group, c, tile);
      weigh_tile(weights + group, rows, tile, out + c, shape.head_dim);
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
