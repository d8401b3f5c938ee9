// What the page mean adds to the scores of a page: a line between knots, as cpu/tile/mean_line.hpp has it.
//
//   K_n = sum over still channels of q m + sum over turning pairs of (q1 m1 + q2 m2) cos(angle_n) + (q2 m1 - q1 m2) sin(angle_n)
//   <q, prediction of token 8 j + f> = K_j + f / 8 (K_(j+1) - K_j)
#pragma once

#include "args.hpp"
#include "thread.cuh"

namespace qjl::cuda {

// Coefficients of <q, R(knot) m> in the mean's numbers: weight[0] m1 + weight[1] m2 for a turning pair.
__device__ inline float2 turned_query(const CodecTables& tables, const float* q, int pair, int knot) {
  const float q1 = q[tables.mean_order[pair]], q2 = q[tables.mean_order[tables.turning_pairs + pair]];
  const float cosine = tables.knot_cos[pair * layout::kKnotStride + knot],
              sine = tables.knot_sin[pair * layout::kKnotStride + knot];
  return {fmaf(q2, sine, q1 * cosine), fmaf(-q1, sine, q2 * cosine)};
}

// <q, M_knot> without the mean's scale; codes int8 [d] in the order of the head.
__device__ inline float knot_score(const CodecTables& tables, const float* q, const std::int8_t* codes, int knot) {
  float sum = 0.0f;
  for (int i = 0; i < tables.turning_pairs; ++i) {
    const float2 weight = turned_query(tables, q, i, knot);
    const float m1 = codes[tables.mean_order[i]], m2 = codes[tables.mean_order[tables.turning_pairs + i]];
    sum = fmaf(weight.y, m2, fmaf(weight.x, m1, sum));
  }
  for (int i = 2 * tables.turning_pairs; i < tables.mean_channels; ++i) {
    const int channel = tables.mean_order[i];
    sum = fmaf(q[channel], static_cast<float>(codes[channel]), sum);
  }
  return sum;
}

// The line at token 8 j + f of the page, knots [17].
__device__ inline float line_at(const float* knots, int j, int f) {
  const float step = (knots[j + 1] - knots[j]) * (1.0f / layout::kKnotTokens);
  return fmaf(static_cast<float>(f), step, knots[j]);
}

}  // namespace qjl::cuda
