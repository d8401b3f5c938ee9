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
QJL_HD constexpr int mean_tiles(int rows) { return 2 * rows + 1; }
template <int kRows, int kDim>
constexpr int mean_fragment_bytes() {
  return mean_tiles(kRows) * kMeanSteps<kDim> * kWarpLanes * 16;
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

// Whole numbers of a tile: of knot (or query) g, pages 2 t and 2 t + 1.
struct TileNumbers {
  float of[2];
};
template <int kDim>
__device__ inline TileNumbers mean_tile(const std::uint8_t* fragments, int tile, const MeanWords<kDim>& means) {
  const std::uint8_t* at = fragments + (tile * kMeanSteps<kDim> * kWarpLanes + lane_idx()) * 16;
  Sums sums = {0, 0, 0, 0};
#pragma unroll
  for (int step = 0; step < kMeanSteps<kDim>; ++step) {
    const FragmentB b = {means[step / 2].word[step % 2 * 2], means[step / 2].word[step % 2 * 2 + 1]};
    multiply_signed(sums, load_shared(at + step * kWarpLanes * 16).word, b);
  }
  return {{static_cast<float>(kPlaneRadix * sums[0] + sums[2]), static_cast<float>(kPlaneRadix * sums[1] + sums[3])}};
}

// The lines of a step's pages by all warps: knots [page][row][kKnotFloats], with what a row's line begins with. A warp has one tile
// of knots a tile of rows; kLastKnotWarp has the last knots too.
inline constexpr int kLastKnotWarp = 6;
template <int kTiles, int kDim>
__device__ inline void mean_knots(const StepPage (&pages)[kStepPages], const std::uint8_t* fragments, const RowUnits* units,
                                  float* knots) {
  constexpr int kRows = kTileRows * kTiles;
  const int g = lane_group(), t = lane_part(), warp = warp_idx();
  MeanWords<kDim> means;
  load_means<kDim>(pages, means);
  const float scale[2] = {pages[2 * t].mean_scale, pages[2 * t + 1].mean_scale};
  const auto store = [&](const RowUnits& unit, float* at, const TileNumbers& numbers) {
#pragma unroll
    for (int i = 0; i < 2; ++i) at[i * kRows * kKnotFloats] = fmaf(numbers.of[i], unit.mean_step * scale[i], unit.line_offset);
  };
  float* of_pages = knots + 2 * t * kRows * kKnotFloats;
  __syncwarp();
  const int row = kTiles * warp / 2, first_knot = kTiles == 1 ? warp % 2 * 8 : 0;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    store(units[row], of_pages + row * kKnotFloats + first_knot + 8 * tile + g,
          mean_tile<kDim>(fragments, kTiles * warp + tile, means));
  }
  if (warp == kLastKnotWarp) {
    const TileNumbers numbers = mean_tile<kDim>(fragments, 2 * kRows, means);
    if (g < kRows) store(units[g], of_pages + g * kKnotFloats + layout::kMeanKnots - 1, numbers);
  }
}

}  // namespace qjl::cuda
