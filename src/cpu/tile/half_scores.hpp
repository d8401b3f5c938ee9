// Scores of 64 keys against a block of queries: decode a stretch of coordinates into a tile, multiply, next stretch.
//
//   out[row][column] = sum_c q[row][c] * tile[c][column]            4 rows x 64 columns in registers on AVX-512
//   sealed:  score = <q, prediction of the mean> + key_scale[slot] * sum_c projected[row][c] * level[c][slot]
//   jl:      score = s |k_in| <S q_in, bits> + s_o |k_out| <S_o q_out, bits_o>
//   f16:     rows as they are, without a tile                               tile/exact_rows.hpp
//
// Cost: one decode of every code per block of queries, then rows * coordinates multiply-adds a key.
#if defined(QJL_TILE_HALF_SCORES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_HALF_SCORES
#undef QJL_TILE_HALF_SCORES
#else
#define QJL_TILE_HALF_SCORES
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "tile/block.hpp"
#include "tile/exact_rows.hpp"
#include "tile/key_tile.hpp"
#include "tile/mean_line.hpp"
#include "tile/rows.hpp"
#include "tile/sealed_page.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

template <int NumRows, int NumVectors>
QJL_INLINE void dot_block(const float* q, std::int64_t stride, const float* tile, int coordinates, float* out, bool add) {
  f32x16 sum[NumRows][NumVectors];
  for (int r = 0; r < NumRows; ++r) {
    for (int v = 0; v < NumVectors; ++v) sum[r][v] = add ? load(out + r * kBlockTokens + 16 * v) : splat(0.0f);
  }
  for (int c = 0; c < coordinates; ++c) {
    f32x16 keys[NumVectors];
    for (int v = 0; v < NumVectors; ++v) keys[v] = load(tile + c * kBlockTokens + 16 * v);
    for (int r = 0; r < NumRows; ++r) {
      const f32x16 query = splat(q[r * stride + c]);
      for (int v = 0; v < NumVectors; ++v) sum[r][v] = fused_multiply_add(query, keys[v], sum[r][v]);
    }
  }
  for (int r = 0; r < NumRows; ++r) {
    for (int v = 0; v < NumVectors; ++v) store(out + r * kBlockTokens + 16 * v, sum[r][v]);
  }
}

// out[row][64] = or += q tile.
inline void dot_tile(const Rows& q, const float* tile, int coordinates, float* out, bool add) {
  constexpr int kVectors = QJL_LANES == 16 ? 4 : 1;  // 16 sums of 16 lanes fit 32 registers of 16, 4 fit 16 registers of 8
  for (int row = 0; row < q.count; row += 4) {
    for (int v = 0; v < 4; v += kVectors) {
      const float *queries = q.data + row * q.stride, *columns = tile + 16 * v;
      float* sums = out + row * kBlockTokens + 16 * v;
      switch (q.count - row) {
        case 1: dot_block<1, kVectors>(queries, q.stride, columns, coordinates, sums, add); break;
        case 2: dot_block<2, kVectors>(queries, q.stride, columns, coordinates, sums, add); break;
        case 3: dot_block<3, kVectors>(queries, q.stride, columns, coordinates, sums, add); break;
        default: dot_block<4, kVectors>(queries, q.stride, columns, coordinates, sums, add);
      }
    }
  }
}

// The signs of one sketch and the norms that go with them.
struct SketchedKeys {
  const std::uint8_t* bits;  // [128 slots][num_bits / 8]
  int num_bits;
  const std::uint8_t* norms;  // fp16 [128 slots]
  float scale;
};

// out[row][64] += <q, bits> * scale * norm[slot] for half a page.
inline void sketch_scores(const Rows& q, const SketchedKeys& keys, int half, float* tile, float* sums, float* out) {
  for (int first = 0; first < keys.num_bits; first += kTileCoordinates) {
    const Stretch stretch{first, std::min(kTileCoordinates, keys.num_bits - first)};
    sketch_tile(keys.bits, keys.num_bits / 8, half, stretch, tile);
    dot_tile({q.data + first, q.stride, q.count}, tile, stretch.count, sums, first > 0);
  }
  for (int v = 0; v < 4; ++v) {
    std::uint16_t half_norms[16];
    std::memcpy(half_norms, keys.norms + (layout::kHalfSlots * half + 16 * v) * 2, sizeof(half_norms));
    const f32x16 norm = load_row(half_norms, DType::f16) * splat(keys.scale);
    for (int row = 0; row < q.count; ++row) {
      float* at = out + row * kBlockTokens + 16 * v;
      store(at, fused_multiply_add(load(sums + row * kBlockTokens + 16 * v), norm, load(at)));
    }
  }
}

// Scores of half a page of sketched keys, of both sketches; spare [rows][64] is used up.
inline void sketched_scores(const SealedPage& page, const Rows& projected, int half, float* tile, float* spare, float* out) {
  const CodecTables& tables = *page.tables;
  const layout::PageShape& shape = tables.shape;
  std::fill_n(out, projected.count * kBlockTokens, 0.0f);
  const SketchedKeys inliers{page.body + page.at->keys, shape.sketch_rows, page.body + page.at->key_norms, tables.sketch_scale};
  sketch_scores(projected, inliers, half, tile, spare, out);
  if (shape.outlier_channels == 0) return;
  const SketchedKeys outliers{page.body + page.at->outlier_keys, shape.outlier_rows, page.body + page.at->outlier_norms,
                              tables.outlier_sketch_scale};
  sketch_scores({projected.data + shape.sketch_rows, projected.stride, projected.count}, outliers, half, tile, spare, out);
}

// The same of keys in rotated frames.
inline void rotated_scores(const SealedPage& page, const Rows& projected, int half, float* tile, float* out) {
  const layout::PageShape& shape = page.tables->shape;
  const int coordinates = layout::key_coordinates(shape);
  for (int first = 0; first < coordinates; first += kTileCoordinates) {
    const Stretch stretch{first, std::min(kTileCoordinates, coordinates - first)};
    key_tile(shape, page.body + page.at->keys, half, stretch, tile);
    dot_tile({projected.data + first, projected.stride, projected.count}, tile, stretch.count, out, first > 0);
  }
  for (int v = 0; v < 4; ++v) {
    const f32x16 scale = load(page.scales + layout::kHalfSlots * half + 16 * v);
    for (int row = 0; row < projected.count; ++row) {
      float* at = out + row * kBlockTokens + 16 * v;
      store(at, slot_scores(load(at), scale, page.mean_lines[row], 4 * half + v));
    }
  }
}

// Scores of half a page against projected queries [rows][K]: out [rows][64], slot order; spare [rows][64] is used up.
inline void half_scores(const SealedPage& page, const Rows& projected, int half, float* tile, float* spare, float* out) {
  const layout::PageShape& shape = page.tables->shape;
  switch (shape.key.book) {
    case Book::exact: return row_scores(projected, half_rows(page, page.at->keys, half), shape.head_dim, out);
    case Book::signs:
    case Book::levels:
    case Book::fine:
    case Book::trellis: return rotated_scores(page, projected, half, tile, out);
    case Book::sketch: return sketched_scores(page, projected, half, tile, spare, out);
    case Book::minmax: return;  // values only
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
