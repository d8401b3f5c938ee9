// The mean's lines of eight pages at once, as a product: turned queries by means.
//
//   K_n(row, page) = mean_scale[page] * sum_c turned[row][n][c] mean[page][c],   turned = R(knot n)^T q      (device/mean_line.cuh)
//
// Queries turn once, before any page is read; a page costs two products of bytes a row for each 32 channels, over the whole block.
// a: rows g and g + 8 are the two planes of knot 8 v + g of a query; the last tile has knot 16 of all queries. b: column = page.
// The inner dimension is in the order of 16-byte loads: of 64 channels, lane part t has 16 t .. 16 t + 15 in two steps.
#pragma once

#include "byte_levels.cuh"
#include "levels.cuh"
#include "mean_line.cuh"
#include "mma.cuh"
#include "planes.cuh"

namespace qjl::cuda {

inline constexpr int kStepPages = 8;    // that a block takes at a time: a page a warp
inline constexpr int kKnotFloats = 20;  // of a row of knots: 17 and room for 16-byte loads

// Fragments [tile][step][lane], 16 bytes each.
template <int kDim>
inline constexpr int kMeanSteps = (kDim + 63) / 64 * 2;
QJL_HD constexpr int num_mean_tiles(int rows) { return 2 * rows + 1; }
template <int kRows, int kDim>
constexpr int mean_fragment_bytes() {
  return num_mean_tiles(kRows) * kMeanSteps<kDim> * kWarpLanes * 16;
}

// Byte of channel c of plane 0 of a row's knot; plane 1 is 4 bytes further.
template <int kRows, int kDim>
QJL_HD constexpr int mean_byte(int row, int knot, int c) {
  const int tile = knot < 16 ? 2 * row + knot / 8 : 2 * kRows, g = knot < 16 ? knot % 8 : row;
  const int lane = 4 * g + c % 64 / 16, step = c / 64 * 2 + c % 16 / 8, half = c % 8 / 4;
  return ((tile * kMeanSteps<kDim> + step) * kWarpLanes + lane) * 16 + 8 * half + c % 4;
}

// Row `row` of queries by one warp: q [d]; fragments are zero before.
template <int kRows, int kDim>
__device__ inline void turn_query(const CodecTables& tables, const float* q, int row, std::uint8_t* fragments, RowUnits& units) {
  const int pairs = tables.turning_pairs;
  float largest = 0.0f;
  for (int i = lane_idx(); i < tables.mean_channels; i += kWarpLanes) {
    const float x = q[tables.mean_order[i]];
    const int partner = i < pairs ? i + pairs : i - pairs;
    const float y = i < 2 * pairs ? q[tables.mean_order[partner]] : 0.0f;
    largest = fmaxf(largest, x * x + y * y);  // a turn moves length between the two channels of a pair
  }
  largest = sqrtf(warp_max(largest));
  const float inverse = largest > 0.0f ? kLargestOfPlanes / largest : 0.0f;
  const auto write = [&](int knot, int channel, float number) {
    const TwoPlanes planes = split(number * inverse);
    std::uint8_t* at = fragments + mean_byte<kRows, kDim>(row, knot, channel);
    at[0] = static_cast<std::uint8_t>(planes.high);
    at[4] = static_cast<std::uint8_t>(planes.low);
  };
  for (int i = lane_idx(); i < pairs * layout::kMeanKnots; i += kWarpLanes) {
    const int pair = i / layout::kMeanKnots, knot = i % layout::kMeanKnots;
    const float2 weight = turned_query(tables, q, pair, knot);
    write(knot, tables.mean_order[pair], weight.x);
    write(knot, tables.mean_order[pairs + pair], weight.y);
  }
  for (int i = 2 * pairs + lane_idx(); i < tables.mean_channels; i += kWarpLanes) {
    for (int knot = 0; knot < layout::kMeanKnots; ++knot) write(knot, tables.mean_order[i], q[tables.mean_order[i]]);
  }
  if (lane_idx() == 0) units.mean_step = largest / kLargestOfPlanes;
}

// What a step needs of a page, in shared memory. A step that has fewer pages repeats its last one, which then does not count.
struct StepPage {
  const std::uint8_t* body;
  float mean_scale, key_scale_max, value_scale_max;
  std::uint16_t num_sinks;
  bool counts, plain;  // plain: every row sees every token, and nothing caps its logits
};
struct StepPlan {
  StepPage page[kStepPages];
  float value_scale_max;  // largest of the pages
  int largest_sum[8];     // of each row: bits of the largest sum of a lane's weights, once they are known
};

// Means of the lane's page (column g of b) of a step. Beyond head_dim they are padding.
template <int kDim>
using MeanWords = Words[kMeanSteps<kDim> / 2];
template <int kDim>
__device__ inline void load_means(const StepPage (&pages)[kStepPages], MeanWords<kDim>& means) {
  const std::uint8_t* codes = pages[lane_group()].body + 16 * lane_part();  // the mean stands first in a body
#pragma unroll
  for (int i = 0; i < kMeanSteps<kDim> / 2; ++i) means[i] = load_words(codes + 64 * i);
}

// kTiles tiles by one warp: whole numbers of knot (or query) g, pages 2 t and 2 t + 1.
template <int kTiles, int kDim>
__device__ inline void mean_tiles(const std::uint8_t* fragments, int first, const MeanWords<kDim>& means,
                                  float (&numbers)[kTiles][2]) {
  constexpr int kTileBytes = kMeanSteps<kDim> * kWarpLanes * 16;
  const std::uint8_t* at = fragments + first * kTileBytes + lane_idx() * 16;
  Sums sums[kTiles] = {};
#pragma unroll
  for (int step = 0; step < kMeanSteps<kDim>; ++step) {
    const FragmentB b = {means[step / 2].word[step % 2 * 2], means[step / 2].word[step % 2 * 2 + 1]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      multiply_signed(sums[tile], load_shared(at + tile * kTileBytes + step * kWarpLanes * 16).word, b);
  }
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i)
    numbers[i / 2][i % 2] = static_cast<float>(kPlaneRadix * sums[i / 2][i % 2] + sums[i / 2][2 + i % 2]);
}

// Where the lines of a step's pages come from: knots [page][row][kKnotFloats], with what a row's line begins with.
template <int kTiles, int kDim>
struct KnotMaker {
  static constexpr int kRows = kTileRows * kTiles;
  const std::uint8_t* fragments;
  const RowUnits* units;
  float* knots;
  MeanWords<kDim> means;
  float scale[2];  // of the means of pages 2 t and 2 t + 1

  __device__ KnotMaker(const StepPage (&pages)[kStepPages], const std::uint8_t* of_queries, const RowUnits* of_rows, float* out)
      : fragments(of_queries), units(of_rows), knots(out) {
    load_means<kDim>(pages, means);
    scale[0] = pages[2 * lane_part()].mean_scale;
    scale[1] = pages[2 * lane_part() + 1].mean_scale;
  }
  template <int kCount>
  __device__ void store(int row, int knot, const float (&numbers)[kCount][2]) const {
    const float step = units[row].mean_step, offset = units[row].line_offset;
    float* at = knots + (2 * lane_part() * kRows + row) * kKnotFloats + knot;
#pragma unroll
    for (int i = 0; i < 2 * kCount; ++i)
      at[i % 2 * kRows * kKnotFloats + i / 2 * 8] = fmaf(numbers[i / 2][i % 2], step * scale[i % 2], offset);
  }
  // A warp's own: all but the last knots of a row, or half of them.
  __device__ void warp_knots() const {
    float numbers[kTiles][2];
    const int tile = kTiles * anew(warp_idx());
    mean_tiles<kTiles, kDim>(fragments, tile, means, numbers);
    store(tile / 2, tile % 2 * 8 + lane_group(), numbers);
  }
  // The last knots of all rows, by one warp.
  __device__ void last_knots() const {
    float numbers[1][2];
    mean_tiles<1, kDim>(fragments, 2 * kRows, means, numbers);
    const int row = lane_group();
    if (row < kRows) store(row, layout::kMeanKnots - 1, numbers);
  }
};

}  // namespace qjl::cuda
