// One step of attention over sealed pages: eight pages by a block of eight warps.
//
//   scores   warp = page: 16 keys a lane, its row t                          key_fragments.cuh, mean_fragments.cuh
//   softmax  reference of the step = largest logit of its pages; weights 2^(s - reference)
//   weights  weight * value scale in 16 bits of the step's largest possible, rounded down after a dither that differs from slot to
//            slot, so that many small weights keep their sum; two planes of bytes in shared memory
//   values   warp = value frame: 16 tokens of all pages                      value_fragments.cuh
//
// Exact but for the roundings of the queries' planes, of 16-bit weights, and fp32 at the end of each integer sum.
#pragma once

#include "exact_rows.cuh"
#include "key_fragments.cuh"
#include "mean_fragments.cuh"
#include "value_fragments.cuh"

namespace qjl::cuda {

inline constexpr unsigned kStepThreads = kStepPages * kWarpLanes;
inline constexpr int kPlannedSteps = 3;
inline constexpr float kLargestWeight = 65280.0f;  // high byte 255, low byte 0: room for the dither

// Weights [row][frame][page][plane][16 tokens], padded so that writers and readers meet no bank twice.
inline constexpr int kFrameWeightBytes = kStepPages * 2 * layout::kFrameSlots + 16;
inline constexpr int kRowWeightBytes = layout::kFrames * kFrameWeightBytes + 16;

template <KeyPath kPath, int kDim, int kRows>
struct StepStorage {
  alignas(16) std::uint8_t mean[mean_fragment_bytes(kRows, kDim)];
  alignas(16) std::uint8_t planes[kRows * row_plane_bytes<kPath, kDim>()];
  alignas(16) std::uint8_t weights[kRows * kRowWeightBytes];
  alignas(16) float knots[kStepPages * kRows * kKnotFloats];
  union {
    alignas(16) float scales[kStepPages][2][layout::kPageTokens];  // of keys and values, slot order
    ExactScratch<kRows, kDim> exact;                               // before the first step
  };
  float page_max[kStepPages][kRows];
  alignas(16) int row_offset[2][64];  // of a half's rows of signs
  StepPlan plans[kPlannedSteps];      // step n in n mod 3: the running one and two to come
  PageRange range;
  RowUnits units[kRows];
};

// Logits of a lane: row 4 tile + t, key of word w and byte i.
template <int kTiles>
using LaneLogits = float[kTiles][4][4];

// Whole scores of the warp's page.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void key_sums(const Job& job, const StepStorage<kPath, kDim, kTileRows * kTiles>& shared, const StepPage& page,
                                int (&sum)[kTiles][4][4]) {
  const layout::PageShape& shape = job.tables().shape;
  const KeyLane lane = key_lane(job.launch.key_bytes, page.body + job.launch.at.keys);
  const QueryPlanes<kPath, kDim> planes{shared.planes};
  if constexpr (kPath == KeyPath::bits) {
    int minus[4][kTiles][4] = {};
    score_bits<kPath, kDim, kTiles>(lane, planes, shared.row_offset[lane.half], minus);
#pragma unroll
    for (int i = 0; i < 16 * kTiles; ++i) {
      const int tile = i / 16, w = i / 4 % 4;
      sum[tile][w][i % 4] = shared.units[kTileRows * tile + lane.t].total - 2 * minus[w][tile][i % 4];
    }
  } else {
    Sums sums[4][kTiles][2] = {};
    if constexpr (kPath == KeyPath::l8) score_l8<kPath, kDim, kTiles>(lane, planes, shape.head_dim, sums);
    if constexpr (kPath == KeyPath::l16) score_l16<kPath, kDim, kTiles>(lane, planes, shape.head_dim, sums);
    if constexpr (kPath == KeyPath::sign_bytes)
      score_sign_bytes<kPath, kDim, kTiles>(lane, planes, shared.row_offset[lane.half], sums);
#pragma unroll
    for (int i = 0; i < 16 * kTiles; ++i) {
      const int tile = i / 16, w = i / 4 % 4, pair = i % 4 / 2, key = i % 2;
      const int whole = kPlaneRadix * sums[w][tile][pair][2 * key] + sums[w][tile][pair][2 * key + 1];
      const int total = kPath == KeyPath::sign_bytes ? shared.units[kTileRows * tile + lane.t].total : 0;
      sum[tile][w][i % 4] = kPath == KeyPath::sign_bytes ? total - 2 * whole : whole;
    }
  }
}

// Scales of the warp's page into its part of shared memory, four slots a lane; those of values in units of 1 / value_unit.
__device__ inline void decode_scales(const Job& job, const StepPage& page, float value_unit,
                                     float (&scales)[2][layout::kPageTokens]) {
  const std::int64_t offset[2] = {job.launch.at.key_scales, job.launch.at.value_scales};
  const float largest[2] = {page.key_scale_max, page.value_scale_max * value_unit};
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    const std::uint32_t codes = load4(reinterpret_cast<const std::uint32_t*>(page.body + offset[side]) + lane_idx());
    const auto scale = [&](int i) { return scale_of(static_cast<int>(codes >> 8 * i & 0xffu), largest[side]); };
    *reinterpret_cast<float4*>(&scales[side][4 * lane_idx()]) = {scale(0), scale(1), scale(2), scale(3)};
  }
  __syncwarp();
}

// Four scales of a lane: frame 4 h + i, tokens 4 q .. of the frame.
struct FourScales {
  float of[4];
};
__device__ inline FourScales lane_scales(const float (&scales)[layout::kPageTokens], int i) {
  const int g = lane_idx() / 4, slot = layout::kHalfSlots * (g / 4) + layout::kFrameSlots * i + 4 * (g % 4);
  const float4 x = *reinterpret_cast<const float4*>(&scales[slot]);
  return {{x.x, x.y, x.z, x.w}};
}

// score = step sum scale + line of the mean; then soft cap, in units of log 2.
template <int kTiles>
__device__ inline void finish_scores(const Job& job, const RowUnits* units, const float* page_knots,
                                     const float (&key_scales)[layout::kPageTokens], const int (&sum)[kTiles][4][4],
                                     LaneLogits<kTiles>& logit) {
  const int g = lane_idx() / 4, t = lane_idx() % 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = kTileRows * tile + t;
    const float* knots = page_knots + row * kKnotFloats + 4 * (g % 4);
    const float4 early = *reinterpret_cast<const float4*>(knots);
    const float knot[5] = {early.x, early.y, early.z, early.w, knots[4]};
    const float step = units[row].step;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const FourScales scale = lane_scales(key_scales, i);
      const float frame = static_cast<float>(4 * (g / 4) + i) * (1.0f / layout::kKnotTokens);
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const float line = fmaf(frame, knot[w + 1] - knot[w], knot[w]);
        logit[tile][w][i] = fmaf(static_cast<float>(sum[tile][w][i]) * step, scale.of[w], line);
      }
    }
  }
  if (job.args.logit_soft_cap > 0.0f) {
#pragma unroll
    for (int i = 0; i < 16 * kTiles; ++i) logit[i / 16][i / 4 % 4][i % 4] = logit_of(job, logit[i / 16][i / 4 % 4][i % 4]);
  }
}

// Tokens that a row does not see.
template <int kTiles>
__device__ inline void mask_scores(const Job& job, const StepPage& page, std::int64_t base, LaneLogits<kTiles>& logit) {
  const int g = lane_idx() / 4, t = lane_idx() % 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = kTileRows * tile + t < job.rows ? kTileRows * tile + t : 0;
    const Window window = row_window(job, row, base, page.num_sinks, layout::kPageTokens);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int token = layout::kFrames * (4 * (g % 4) + i / 4) + 4 * (g / 4) + i % 4;
      if (page.counts == 0 || token < window.first || token > window.last) logit[tile][i / 4][i % 4] = kNothing;
    }
  }
}

// Largest logit of each row over the warp's page, into page_max.
template <int kTiles>
__device__ inline void reduce_page_max(const LaneLogits<kTiles>& logit, float* page_max) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float largest = logit[tile][0][0];
#pragma unroll
    for (int i = 1; i < 16; ++i) largest = fmaxf(largest, logit[tile][i / 4][i % 4]);
#pragma unroll
    for (int mask = 4; mask < kWarpLanes; mask *= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, mask));
    if (lane_idx() < 4) page_max[kTileRows * tile + lane_idx()] = largest;
  }
}

// Four weights below 2^16 as bytes: high planes, low planes.
__device__ inline uint2 pack_planes(const std::uint32_t (&x)[4]) {
  const std::uint32_t first = interleave_low(x[0], x[1]), second = interleave_low(x[2], x[3]);
  return {permute_bytes(first, second, 0x7632), permute_bytes(first, second, 0x5410)};
}

// 64 numbers in (0, 1) for warp and g; neighbours of a lane take it and its mirror image.
__device__ inline float dither_of_lane() {
  const int g = lane_idx() / 4, warp = warp_idx();
  return (static_cast<float>(8 * (g * 5 % 8) + warp * 3 % 8) + 0.5f) * (1.0f / 64.0f);
}

// Weights of the lane's keys, into shared memory; value_scales in units of a weight. sum[tile] is what softmax divides by.
template <int kTiles>
__device__ inline void store_weights(const LaneLogits<kTiles>& logit, const float (&reference)[kTiles],
                                     const float (&value_scales)[layout::kPageTokens], std::uint8_t* weights,
                                     float (&sum)[kTiles]) {
  const int g = lane_idx() / 4, t = lane_idx() % 4;
  const float dither = dither_of_lane();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const float from = reference[tile] == kNothing ? 0.0f : reference[tile];
    std::uint8_t* row = weights + (kTileRows * tile + t) * kRowWeightBytes + warp_idx() * 2 * layout::kFrameSlots + 4 * (g % 4);
    sum[tile] = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const FourScales scale = lane_scales(value_scales, i);
      std::uint32_t whole[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const float weight = exp2_fast(logit[tile][w][i] - from);
        sum[tile] += weight;
        const float add = (i + w) % 2 == 0 ? dither : 1.0f - dither;
        whole[w] = static_cast<std::uint32_t>(fmaf(weight, scale.of[w], add));
      }
      const uint2 planes = pack_planes(whole);
      std::uint8_t* at = row + (4 * (g / 4) + i) * kFrameWeightBytes;
      *reinterpret_cast<std::uint32_t*>(at) = planes.x;
      *reinterpret_cast<std::uint32_t*>(at + layout::kFrameSlots) = planes.y;
    }
  }
}

}  // namespace qjl::cuda
