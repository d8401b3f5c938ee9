// The page mean before RoPE, and what it predicts of every token; the CPU's encode/mean.hpp says what and why, and in which order
// numbers add up.
//
//   mean = sum_t conj(C_t) k_t / sum_t |C_t|^2 over the tokens that are not sinks, then int8 * (max |mean| / 127)
//   prediction of token 8 j + f = M_j + f / 8 (M_(j+1) - M_j)
#pragma once

#include "group.cuh"
#include "half.hpp"

namespace qjl::cuda {

inline constexpr float kTokenShare = 1.0f / layout::kPageTokens;
inline constexpr float kFrameStep = 1.0f / layout::kFrames;

// The rows of one page, 16 bit.
struct PageRows {
  const std::uint16_t* data;
  std::int64_t token_stride;
  DType dtype;
  int num_sinks;
  __device__ float at(int token, int c) const { return to_float(data[token * token_stride + c], dtype); }
};
__device__ inline int token_of(const Share& me, int frame) { return layout::kFrames * me.lane + frame; }

// now, next [d][16]: sum_f (1 - f/8) x and sum_f f/8 x over the frames of each lane's knot.
__device__ inline void sum_frames(const Share& me, const PageRows& rows, int d, float* now, float* next) {
  each_coordinate(me, d, [&](int c) {
    float all = 0.0f, late = 0.0f;
    for (int f = 0; f < layout::kFrames; ++f) {
      const int token = token_of(me, f);
      const float x = token >= rows.num_sinks ? rows.at(token, c) * kTokenShare : 0.0f;
      all = all + x;
      late = late + x * (static_cast<float>(f) * kFrameStep);
    }
    now[c * kGroup + me.lane] = all - late;
    next[c * kGroup + me.lane] = late;
  });
  __syncthreads();
}

// now <- R(-angle_j) now + R(-angle_(j+1)) next for turning pairs, now + next for still channels, 0 for those without a mean.
__device__ inline void turn_back(const Share& me, const CodecTables& tables, float* now, const float* next) {
  const int pairs = tables.turning_pairs;
  each_coordinate(me, pairs, [&](int i) {
    const int first = tables.mean_order[i] * kGroup + me.lane, second = tables.mean_order[pairs + i] * kGroup + me.lane;
    const float *cosines = tables.knot_cos + i * layout::kKnotStride + me.lane,
                *sines = tables.knot_sin + i * layout::kKnotStride + me.lane;
    const float c0 = cosines[0], c1 = cosines[1], s0 = sines[0], s1 = sines[1];
    const float x0 = now[first], x1 = next[first], y0 = now[second], y1 = next[second];
    now[first] = (c0 * x0 + s0 * y0) + (c1 * x1 + s1 * y1);
    now[second] = (c0 * y0 - s0 * x0) + (c1 * y1 - s1 * x1);
  });
  each_coordinate(me, tables.shape.head_dim - 2 * pairs, [&](int k) {
    const int i = 2 * pairs + k, at = tables.mean_order[i] * kGroup + me.lane;
    now[at] = i < tables.mean_channels ? now[at] + next[at] : 0.0f;
  });
  __syncthreads();
}

// mean[c] = sum of the 16 lanes of now in order, over sum_t |C_t|^2. Both sums of weights are exact.
__device__ inline void divide_by_weights(const CodecTables& tables, int num_sinks, const float* now, float* mean) {
  int between_eighths = 0;  // sum of f (8 - f)
  for (int t = num_sinks; t < layout::kPageTokens; ++t)
    between_eighths += t % layout::kFrames * (layout::kFrames - t % layout::kFrames);
  const float tokens = static_cast<float>(layout::kPageTokens - num_sinks) * kTokenShare;
  const float between = static_cast<float>(between_eighths) * (2.0f * kTokenShare * kFrameStep * kFrameStep);
  const int pairs = tables.turning_pairs;
  for (int i = thread_idx(); i < tables.shape.head_dim; i += block_threads()) {
    const int c = tables.mean_order[i];
    float sum = now[c * kGroup];
    for (int lane = 1; lane < kGroup; ++lane) sum = sum + now[c * kGroup + lane];
    // The angle of knot 9 is 8 w.
    const float lost = i < 2 * pairs ? 1.0f - tables.knot_cos[i % pairs * layout::kKnotStride + layout::kMeanKnots / 2 + 1] : 0.0f;
    mean[c] = sum / (tokens - between * lost);
  }
  __syncthreads();
}

struct MeanSpace {
  float *now, *next;  // [d][16], for encode_mean alone
  float* mean;        // [d], the rounded mean
};

// Writes the int8 mean, padded with zeros; leaves the rounded mean; returns mean_scale. In step at the end.
__device__ inline float encode_mean(const Share& me, const CodecTables& tables, const PageRows& rows, const MeanSpace& space,
                                    std::uint8_t* codes) {
  const int d = tables.shape.head_dim;
  float* mean = space.mean;
  sum_frames(me, rows, d, space.now, space.next);
  turn_back(me, tables, space.now, space.next);
  divide_by_weights(tables, rows.num_sinks, space.now, mean);
  float largest = 0.0f;
  for (int c = 0; c < d; ++c) largest = fmaxf(largest, fabsf(mean[c]));
  __syncthreads();
  const float scale = largest / 127.0f;
  for (int c = thread_idx(); c < layout::round_up(d, layout::kLineBytes); c += block_threads()) {
    if (c >= d) {
      codes[c] = 0;
      continue;
    }
    const float steps = scale > 0.0f ? rintf(mean[c] / scale) : 0.0f;
    const float code = fminf(fmaxf(steps, -127.0f), 127.0f);
    codes[c] = static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
    mean[c] = scale * code;
  }
  __syncthreads();
  return scale;
}

// x[c] <- the key of this lane's token of `frame` less its prediction. In step at the end.
__device__ inline void take_residual(const Share& me, const CodecTables& tables, const PageRows& rows, int frame, const float* mean,
                                     float* x) {
  const int pairs = tables.turning_pairs, token = token_of(me, frame);
  const float share = static_cast<float>(frame);
  const auto put = [&](int c, float now, float next) {
    const float step = (next - now) * kFrameStep;
    x[c * kGroup + me.lane] = rows.at(token, c) - (now + share * step);
  };
  each_coordinate(me, pairs, [&](int i) {
    const int first = tables.mean_order[i], second = tables.mean_order[pairs + i];
    const float *cosines = tables.knot_cos + i * layout::kKnotStride + me.lane,
                *sines = tables.knot_sin + i * layout::kKnotStride + me.lane;
    const float c0 = cosines[0], c1 = cosines[1], s0 = sines[0], s1 = sines[1], m1 = mean[first], m2 = mean[second];
    put(first, c0 * m1 - s0 * m2, c1 * m1 - s1 * m2);
    put(second, s0 * m1 + c0 * m2, s1 * m1 + c1 * m2);
  });
  each_coordinate(me, tables.shape.head_dim - 2 * pairs, [&](int k) {
    const int c = tables.mean_order[2 * pairs + k];
    put(c, mean[c], mean[c]);
  });
  __syncthreads();
}

}  // namespace qjl::cuda
