// One step of attention over sealed pages: eight pages by a block of eight warps.
//
//   scores   warp = page: 16 keys a lane, its rows kTiles t ..            key_fragments.cuh, mean_fragments.cuh
//   softmax  weights 2^(s - reference); a reference stays until weights would leave the range of fp32
//   weights  weight * value scale in whole units, a power of two so small that the largest takes 13 to 15 bits, rounded down after
//            a dither that differs from slot to slot, so that many small weights keep their sum; two planes of bytes
//   values   warp = value frame: 16 tokens of all pages                    value_fragments.cuh
//
// Exact but for the roundings of the queries' planes, of whole weights, and fp32 at the end of each integer sum.
#pragma once

#include "exact_rows.cuh"
#include "key_fragments.cuh"
#include "mean_fragments.cuh"
#include "value_fragments.cuh"

namespace qjl::cuda {

inline constexpr unsigned kStepThreads = kStepPages * kWarpLanes;
inline constexpr int kPlannedSteps = 3;

// Weights [row][frame][page][32 bytes], padded so that writers and readers meet no bank twice.
inline constexpr int kPageWeightBytes = 2 * layout::kFrameSlots;
inline constexpr int kFrameWeightBytes = kStepPages * kPageWeightBytes + 16;
inline constexpr int kRowWeightBytes = layout::kFrames * kFrameWeightBytes + 16;

// Rows of a block.
template <int kTiles>
inline constexpr int kRowsOf = kTileRows * kTiles;

template <KeyPath kPath, int kDim, int kTiles>
struct StepStorage {
  static constexpr int kRows = kRowsOf<kTiles>;
  StepPlan plans[kPlannedSteps];  // step n in n mod 3: the running one and two to come
  alignas(16) std::uint8_t mean[mean_fragment_bytes<kRows, kDim>()];
  alignas(16) std::uint8_t planes[plane_bytes<kPath, kDim, kTiles>()];
  alignas(16) std::uint8_t weights[kRows * kRowWeightBytes];
  alignas(16) float knots[kStepPages * kRows * kKnotFloats];
  union {
    alignas(16) float scales[kStepPages][2][layout::kPageTokens];  // of keys and values, slot order
    ExactScratch<kRows, kDim> exact;                               // before the first step
  };
  RowOffsets<kDim> row_offsets;           // of signs
  float scale_factor[kScaleCodeMax + 1];  // 2^((code - 255) / 32), 0
  float dither[kStepThreads / 4];         // times kUnitOfBase
  Job job;                                // here and in range: what few steps or one warp need is not kept in registers
  PageRange range;
  RowUnits units[kRows];
  int largest_logit[kRows];  // order_of() it, when references move
};

// Logits, then weights, of a lane: row kTiles t + tile, key of word w and byte i.
template <int kTiles>
using LaneLogits = float[kTiles][4][4];

// Whole scores of the warp's page.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void key_sums(const AttendLaunch& launch, const StepStorage<kPath, kDim, kTiles>& shared,
                                const std::uint8_t* body, KeySums<kTiles>& sum) {
  const QueryPlanes<kPath, kDim, kTiles> planes{shared.planes};
  if constexpr (kPath == KeyPath::bits) score_bits<kDim, kTiles>(body, shared.row_offsets, planes, sum);
  if constexpr (kPath == KeyPath::sign_bytes) score_sign_bytes<kDim, kTiles>(body, shared.row_offsets, planes, sum);
  if constexpr (kPath == KeyPath::l8) score_l8<kDim, kTiles>(launch.key_bytes, body + launch.at.keys, planes, sum);
  if constexpr (kPath == KeyPath::l16)
    score_l16<kDim, kTiles>(launch.key_bytes, body + launch.at.keys, planes, launch.tables.shape.head_dim, sum);
}

// Scales of the warp's page into its part of shared memory, four slots a lane; those of keys in units of the page's largest.
__device__ inline void decode_scales(const std::uint8_t* codes, float value_scale_max, const float* factor,
                                     float (&scales)[2][layout::kPageTokens]) {
  const auto* of_lane = reinterpret_cast<const std::uint32_t*>(codes) + lane_idx();
  const float largest[2] = {1.0f, value_scale_max};
#pragma unroll
  for (int side = 0; side < 2; ++side) {  // those of values follow those of keys
    const std::uint32_t word = load4(of_lane + side * layout::kPageTokens / 4);
    const auto scale = [&](int i) { return factor[permute_bytes(word, 0, 0x4440 + static_cast<unsigned>(i))] * largest[side]; };
    *reinterpret_cast<float4*>(&scales[side][4 * lane_idx()]) = {scale(0), scale(1), scale(2), scale(3)};
  }
  __syncwarp();
}

// Four scales of a lane: frame 4 h + i, tokens 4 q .. of the frame.
struct FourScales {
  float of[4];
};
__device__ inline FourScales lane_scales(const float (&scales)[layout::kPageTokens], int i) {
  const int g = lane_group(), slot = layout::kHalfSlots * (g / 4) + layout::kFrameSlots * i + 4 * (g % 4);
  const float4 x = *reinterpret_cast<const float4*>(&scales[slot]);
  return {{x.x, x.y, x.z, x.w}};
}

// logit = (step number + offset) scale + line of the mean.
template <KeyPath kPath, int kTiles>
__device__ inline void finish_logits(const StepPage& page, const RowUnits* units, const float* page_knots,
                                     const float (&key_scales)[layout::kPageTokens], const KeySums<kTiles>& sum,
                                     LaneLogits<kTiles>& logit) {
  const int g = lane_group(), t = lane_part();
  const float half = static_cast<float>(g / 4) * (4.0f / layout::kKnotTokens);  // the first frame of the lane's half
  float step[kTiles], offset[kTiles], line[kTiles][4], rise[kTiles][4];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = lane_row<kTiles>(t, tile);
    step[tile] = units[row].step * page.key_scale_max;
    offset[tile] = units[row].offset * page.key_scale_max;
    const float* knots = page_knots + row * kKnotFloats + 4 * (g % 4);
    const float4 early = *reinterpret_cast<const float4*>(knots);
    const float knot[5] = {early.x, early.y, early.z, early.w, knots[4]};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      rise[tile][w] = knot[w + 1] - knot[w];
      line[tile][w] = fmaf(half, rise[tile][w], knot[w]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const FourScales scale = lane_scales(key_scales, i);
    const float frame = static_cast<float>(i) * (1.0f / layout::kKnotTokens);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const float code = fmaf(number_of<kPath>(sum[tile][w][i]), step[tile], offset[tile]);
        const float mean = i == 0 ? line[tile][w] : fmaf(frame, rise[tile][w], line[tile][w]);
        logit[tile][w][i] = fmaf(code, scale.of[w], mean);
      }
    }
  }
}

// Soft cap, units of log 2, reference: what else the line and the units hold.
template <int kTiles>
__device__ inline void cap_logits(const Job& job, const float (&reference)[kTiles], LaneLogits<kTiles>& logit) {
#pragma unroll
  for (int i = 0; i < 16 * kTiles; ++i) {
    const float from = reference[i / 16] == kNothing ? 0.0f : reference[i / 16];
    logit[i / 16][i / 4 % 4][i % 4] = logit_of(job, logit[i / 16][i / 4 % 4][i % 4]) - from;
  }
}

// Tokens that a row does not see.
template <int kTiles>
__device__ inline void mask_logits(const Job& job, const StepPage& page, std::int64_t base, LaneLogits<kTiles>& logit) {
  const int g = lane_group();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int lane = lane_row<kTiles>(lane_part(), tile), row = lane < job.rows ? lane : 0;
    const Window window = row_window(job, row, base, page.num_sinks, layout::kPageTokens);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int token = layout::kFrames * (4 * (g % 4) + i / 4) + 4 * (g / 4) + i % 4;
      if (!page.counts || token < window.first || token > window.last) logit[tile][i / 4][i % 4] = kNothing;
    }
  }
}

// ---- references -----------------------------------------------------------------------------------------------------------
// What a lane keeps over all pages, for its rows: the reference of the weights, kNothing before the row saw a token, the sum of the
// lane's weights, and sums of values of the warp's frame in bases of weights, by groups of channels.
template <int kTiles, int kDim>
struct Running {
  static constexpr int kGroups = (kDim + kGroupChannels - 1) / kGroupChannels;
  float reference[kTiles], sum[kTiles];
  GroupSums<kTiles> values[kGroups];

  __device__ void scale(int tile, float factor) {
    sum[tile] *= factor;
#pragma unroll
    for (int i = 0; i < 8 * kGroups; ++i) values[i / 8][tile][i / 4 % 2][i % 4] *= factor;
  }
};

// Weights beyond this, relative to the reference, move it. So far below the largest fp32 that sums of them times whole numbers and
// values of up to 2^50 are safe.
inline constexpr float kLargestSum = 0x1p30f;

// A number whose order among integers is that of x.
__device__ inline int order_of(float x) {
  const int bits = __float_as_int(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
__device__ inline float from_order(int order) { return __int_as_float(order < 0 ? order ^ 0x7fffffff : order); }
inline constexpr int kOrderOfNothing = static_cast<int>(0xff800000u ^ 0x7fffffffu);

// References up to the largest logit of the step; logits and all sums so far relative to them. `capped` lines do not hold the
// reference. All threads meet twice.
template <int kTiles, int kDim>
__device__ inline void move_references(bool capped, int* largest_logit, RowUnits* units, LaneLogits<kTiles>& logit,
                                       Running<kTiles, kDim>& running) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float largest = kNothing;
#pragma unroll
    for (int i = 0; i < 16; ++i) largest = fmaxf(largest, logit[tile][i / 4][i % 4]);
    atomicMax(&largest_logit[lane_row<kTiles>(lane_part(), tile)], order_of(largest));
  }
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = lane_row<kTiles>(lane_part(), tile);
    const bool unset = running.reference[tile] == kNothing;
    const float by = from_order(largest_logit[row]);
    if (unset ? by == kNothing : by <= 0.0f) continue;
    running.reference[tile] = unset ? by : running.reference[tile] + by;
    running.scale(tile, unset ? 0.0f : exp2_fast(-by));
    if (!capped && thread_idx() < kTileRows) units[row].line_offset = -running.reference[tile];
#pragma unroll
    for (int i = 0; i < 16; ++i) logit[tile][i / 4][i % 4] -= by;
  }
  __syncthreads();
  if (thread_idx() < kRowsOf<kTiles>) largest_logit[thread_idx()] = kOrderOfNothing;
}

// ---- weights --------------------------------------------------------------------------------------------------------------
// Weights of a lane; for its rows the largest sum of a lane's.
template <int kTiles>
struct LaneWeights {
  LaneLogits<kTiles> of;
  float largest[kTiles];
};

// Logits to weights; adds each lane's sum to sum[tile] and to the largest of its row.
template <int kTiles>
__device__ inline void take_weights(LaneLogits<kTiles>& logit, int* largest_sum, float (&sum)[kTiles]) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float(&weight)[4][4] = logit[tile];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      weight[i / 4][i % 4] = exp2_fast(weight[i / 4][i % 4]);
      sum[tile] = i == 0 ? weight[0][0] : sum[tile] + weight[i / 4][i % 4];
    }
    atomicMax(&largest_sum[lane_row<kTiles>(lane_part(), tile)], __float_as_int(sum[tile]));
  }
}

// Weights below 2^e are whole numbers of the unit 2^(e - 15) = kUnitOfBase base: added to 2^e, bytes 1 and 2 of a number hold them
// and byte 0 what rounding down leaves out. e is odd or even as the exponent's lowest bit, which stands in byte 2, shall be 0.
__device__ inline float weight_base(float largest) {
  constexpr unsigned kTwoExponents = 2u << 23;
  return __uint_as_float((__float_as_uint(largest) + kTwoExponents) & ~(kTwoExponents - 1));
}
inline constexpr float kUnitOfBase = 0x1p-15f;
// Rounding must not carry the largest weight beyond its base.
inline constexpr float kRoomForRounding = 1.0f + 0x1p-10f;

// Bytes 2 and 1 of four numbers: high planes, low planes.
__device__ inline uint2 pack_planes(const float (&x)[4]) {
  const auto bits = [&](int i) { return __float_as_uint(x[i]); };
  const std::uint32_t first = permute_bytes(bits(0), bits(1), 0x6251), second = permute_bytes(bits(2), bits(3), 0x6251);
  return {permute_bytes(first, second, 0x7632), permute_bytes(first, second, 0x5410)};
}

// 64 numbers in (0, 1) for warp and g; neighbours of a lane take it and its mirror image.
__device__ inline float dither_of_lane() {
  const int g = lane_group(), warp = warp_idx();
  return (static_cast<float>(8 * (g * 5 % 8) + warp * 3 % 8) + 0.5f) * (1.0f / 64.0f);
}

// From the weights to those that a lane reads: its frame (the warp's), its column's row and its pages.
template <int kTiles>
__device__ inline int weight_offset() {
  return (kTiles == 1 ? lane_group() / 2 : lane_group()) * kRowWeightBytes + anew(warp_idx()) * kFrameWeightBytes;
}

// Weights of the lane's keys times the scales of their values, in units of base[tile], into shared memory (weight_fragments()).
// dither: times kUnitOfBase.
template <int kTiles>
__device__ inline void store_weights(const LaneLogits<kTiles>& weight, const float (&base)[kTiles], float dither,
                                     const float (&value_scales)[layout::kPageTokens], std::uint8_t* weights) {
  const int g = lane_group(), t = lane_part();
  float add[kTiles][2];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    add[tile][0] = fmaf(base[tile], dither, base[tile]);
    add[tile][1] = fmaf(base[tile], kUnitOfBase - dither, base[tile]);
  }
  std::uint8_t* of_lane = weights + lane_row<kTiles>(t, 0) * kRowWeightBytes + 4 * (g / 4) * kFrameWeightBytes +
                          anew(warp_idx()) * kPageWeightBytes + (kTiles == 1 ? 4 : 8) * (g % 4);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const FourScales scale = lane_scales(value_scales, i);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      float whole[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) whole[w] = fmaf(weight[tile][w][i], scale.of[w], add[tile][(i + w) % 2]);
      const uint2 planes = pack_planes(whole);
      std::uint8_t* at = of_lane + tile * kRowWeightBytes + i * kFrameWeightBytes;
      if constexpr (kTiles == 1) {
        *reinterpret_cast<std::uint32_t*>(at) = planes.x;
        *reinterpret_cast<std::uint32_t*>(at + layout::kFrameSlots) = planes.y;
      } else {
        *reinterpret_cast<uint2*>(at) = planes;
      }
    }
  }
}

}  // namespace qjl::cuda
