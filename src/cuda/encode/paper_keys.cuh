// The paper's keys (arXiv 2406.03482) of one page: sign(S k_in), fp16 |k_in|; the n_out channels of largest energy apart. The bytes
// of the CPU's encode/paper.hpp: sums run over channels, and over tokens, in order.
#pragma once

#include "encode_page.cuh"

namespace qjl::cuda {

__device__ inline std::uint16_t saturated_half(float number) { return float_to_half(fminf(fmaxf(number, -kHalfMax), kHalfMax)); }

// Writes the channels of largest energy over the page, ascending; equal energies keep the lower channel. A channel is taken when
// fewer than `count` others come before it. energy [d] is for this alone.
__device__ inline void choose_channels(const PageRows& rows, int d, int count, float* energy, std::uint8_t* chosen) {
  for (int c = thread_idx(); c < d; c += block_threads()) {
    float sum = 0.0f;
    for (int t = rows.num_sinks; t < layout::kPageTokens; ++t) sum = sum + rows.at(t, c) * rows.at(t, c);
    energy[c] = sum;
  }
  __syncthreads();
  const auto rank = [&](int c) {
    int before = 0;
    for (int other = 0; other < d; ++other)
      before += energy[other] > energy[c] || (energy[other] == energy[c] && other < c) ? 1 : 0;
    return before;
  };
  for (int c = thread_idx(); c < d; c += block_threads()) {
    if (rank(c) >= count) continue;
    int place = 0;
    for (int other = 0; other < c; ++other) place += rank(other) < count ? 1 : 0;
    chosen[place] = static_cast<std::uint8_t>(c);
  }
  __syncthreads();
}

// One vector of the sketch: signs of S x as `rows` bits from `out` on, x [dim][16] in this thread's lane.
__device__ inline void sketch_signs(const Share& me, const float* sketch, int rows, int dim, const float* x, std::uint8_t* out) {
  each_coordinate(me, rows / 8, [&](int byte) {
    unsigned bits = 0;
    for (int k = 0; k < 8; ++k) {
      const float* row = sketch + std::int64_t{8 * byte + k} * dim;
      float sum = 0.0f;
      for (int c = 0; c < dim; ++c) sum = sum + row[c] * x[c * kGroup + me.lane];
      bits |= sum < 0.0f ? 1u << k : 0u;
    }
    out[byte] = static_cast<std::uint8_t>(bits);
  });
}
__device__ inline std::uint16_t half_norm(const float* x, int dim, int lane) {
  float sum = 0.0f;
  for (int c = 0; c < dim; ++c) sum = sum + x[c * kGroup + lane] * x[c * kGroup + lane];
  return saturated_half(sqrtf(sum));
}
__device__ inline void clear_bytes(const Share& me, int count, std::uint8_t* out) {
  each_coordinate(me, count, [&](int i) { out[i] = 0; });
}

// space: [2 d][16] floats of shared memory.
__device__ inline void encode_sketch(const EncodeLaunch& launch, std::int64_t i, float* space) {
  const CodecTables& tables = launch.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, m = shape.sketch_rows / 8, outlier_m = shape.outlier_rows / 8, count = shape.outlier_channels;
  const Share me = my_share();
  const PageRows rows = page_rows(launch.args, i);
  std::uint8_t *body = launch.args.bodies[i], *chosen = body + launch.at.outlier_idx;
  if (count > 0 && launch.args.choose_outliers[i] != 0) {
    for (std::int64_t c = count + thread_idx(); c < launch.at.key_norms - launch.at.outlier_idx; c += block_threads())
      chosen[c] = 0;
    choose_channels(rows, d, count, space, chosen);
  }
  float *inliers = space, *outliers = space + d * kGroup;
  auto *norms = reinterpret_cast<std::uint16_t*>(body + launch.at.key_norms),
       *outlier_norms = reinterpret_cast<std::uint16_t*>(body + launch.at.outlier_norms);
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const int token = token_of(me, frame), slot = layout::kFrameSlots * frame + me.lane;
    __syncthreads();
    each_coordinate(me, d, [&](int c) { inliers[c * kGroup + me.lane] = rows.at(token, c); });
    __syncthreads();
    each_coordinate(me, count, [&](int n) {
      outliers[n * kGroup + me.lane] = inliers[chosen[n] * kGroup + me.lane];
      inliers[chosen[n] * kGroup + me.lane] = 0.0f;
    });
    __syncthreads();
    std::uint8_t *signs = body + launch.at.keys + std::int64_t{slot} * m,
                 *outlier_signs = body + launch.at.outlier_keys + std::int64_t{slot} * outlier_m;
    const bool live = token >= rows.num_sinks;
    if (me.part == 0) norms[slot] = live ? half_norm(inliers, d, me.lane) : std::uint16_t{0};
    if (me.part == 0 && count > 0) outlier_norms[slot] = live ? half_norm(outliers, count, me.lane) : std::uint16_t{0};
    if (!live) {
      clear_bytes(me, m, signs);
      if (count > 0) clear_bytes(me, outlier_m, outlier_signs);
      continue;
    }
    sketch_signs(me, tables.sketch, shape.sketch_rows, d, inliers, signs);
    if (count > 0) sketch_signs(me, tables.outlier_sketch, shape.outlier_rows, count, outliers, outlier_signs);
  }
}

}  // namespace qjl::cuda
