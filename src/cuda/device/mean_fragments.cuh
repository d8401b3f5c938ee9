// The mean's lines of eight pages at once, as a product: turned queries by means.
//
//   K_n(row, page) = mean_scale[page] * sum_c turned[row][n][c] mean[page][c],   turned = R(knot n)^T q      (device/mean_line.cuh)
//
// Queries turn once, before any page is read; a page costs two products of bytes a row for each 32 channels, over the whole block.
// a: rows g and g + 8 are the two planes of knot 8 v + g of a query; the last tile has knot 16 of all queries. b: column = page.
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
QJL_HD constexpr int mean_tiles(int rows) { return 2 * rows + 1; }
QJL_HD constexpr int mean_fragment_bytes(int rows, int dim) { return mean_tiles(rows) * dim / kStepCoordinates * kWarpLanes * 16; }

// Byte of channel c of plane 0 of a row's knot; plane 1 is 4 bytes further.
template <int kRows, int kDim>
QJL_HD constexpr int mean_byte(int row, int knot, int c) {
  constexpr int rows = kRows, steps = kDim / kStepCoordinates;
  const int tile = knot < 16 ? 2 * row + knot / 8 : 2 * rows, g = knot < 16 ? knot % 8 : row;
  const int k = c % kStepCoordinates, lane = 4 * g + k % 16 / 4, word = 2 * (k / 16);
  return ((tile * steps + c / kStepCoordinates) * kWarpLanes + lane) * 16 + 4 * word + k % 4;
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

// What a step needs of a page, in shared memory. A step that has fewer pages repeats its last one with `counts` 0.
struct StepPage {
  const std::uint8_t* body;
  float mean_scale, key_scale_max, value_scale_max;
  int num_sinks;
  int counts;
};
struct StepPlan {
  StepPage page[kStepPages];
  float value_unit, value_step;  // weights are whole numbers of value_step = 1 / value_unit
};

// Tiles warp_idx(), warp_idx() + 8, ... of all pages of a step: knots [page][row][kKnotFloats]. Beyond head_dim fragments are zero
// and means are padding.
template <int kRows, int kDim>
__device__ inline void mean_knots(const StepPage (&pages)[kStepPages], const std::uint8_t* fragments, const RowUnits* units,
                                  float* knots) {
  constexpr int kSteps = kDim / kStepCoordinates;
  const int g = lane_idx() / 4, t = lane_idx() % 4;
  const auto* codes = reinterpret_cast<const std::uint32_t*>(pages[g].body) + t;  // the mean stands first in a body
  FragmentB b[kSteps];
#pragma unroll
  for (int i = 0; i < 2 * kSteps; ++i) b[i / 2][i % 2] = load4(codes + 4 * i);
#pragma unroll 1
  for (int tile = warp_idx(); tile < mean_tiles(kRows); tile += kStepPages) {
    Sums sums = {0, 0, 0, 0};
    __syncwarp();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const Words words = load_shared(fragments + ((tile * kSteps + step) * kWarpLanes + lane_idx()) * 16);
      multiply_signed(sums, words.word, b[step]);
    }
    const bool last = tile == 2 * kRows;
    const int row = last ? g : tile / 2, knot = last ? layout::kMeanKnots - 1 : 8 * (tile % 2) + g;
#pragma unroll
    for (int i = 0; i < 2 && row < kRows; ++i) {
      const float whole = static_cast<float>(kPlaneRadix * sums[i] + sums[2 + i]);
      knots[((2 * t + i) * kRows + row) * kKnotFloats + knot] = whole * units[row].mean_step * pages[2 * t + i].mean_scale;
    }
  }
}

}  // namespace qjl::cuda
