// What a block of attend works on: up to kRows rows of one piece; piece.hpp says which tokens they see.
//
//   logits are kept in units of log 2: 2^x is one instruction
#pragma once

#include "args.hpp"
#include "half.hpp"
#include "levels.cuh"
#include "piece.hpp"
#include "softmax_state.hpp"
#include "thread.cuh"

namespace qjl::cuda {

// Everything that a launch of attend hands to its kernel, by value.
struct AttendLaunch {
  CodecTables tables;
  layout::BodyLayout at;
  LevelTable key_levels, value_levels;
  ByteLevels key_bytes, value_bytes;
  AttendArgs args;  // used when `requests` is null
  AttendPiece piece;
  const AttendArgs* requests;
  const AttendPiece* pieces;
  const std::int32_t* request_of_piece;
};

// Levels are for kernels that look one number up at a time, their bytes for those that look four up at once.
inline AttendLaunch launch_of(const CodecTables& tables) {
  AttendLaunch launched{};
  launched.tables = tables;
  launched.at = layout::body_layout(tables.shape);
  launched.key_levels = level_table(tables.shape.key_code);
  launched.value_levels = level_table(tables.shape.value_code);
  launched.key_bytes = byte_levels_of(tables.shape.key_code);
  launched.value_bytes = byte_levels_of(tables.shape.value_code);
  return launched;
}

struct Job : PieceRows {  // at most kRows rows of the piece
  const AttendLaunch& launch;

  __device__ const CodecTables& tables() const { return launch.tables; }
  __device__ int head_dim() const { return launch.tables.shape.head_dim; }
};

// blockIdx.x is the piece, blockIdx.y the group of rows.
__device__ inline Job find_job(const AttendLaunch& launch, int max_rows) {
  const std::int64_t i = blockIdx.x;
  const AttendPiece& piece = launch.requests == nullptr ? launch.piece : launch.pieces[i];
  const AttendArgs& args = launch.requests == nullptr ? launch.args : launch.requests[launch.request_of_piece[i]];
  const int first = static_cast<int>(blockIdx.y) * max_rows, left = piece.num_queries * piece.num_heads_in_group - first;
  return {{args, piece, first, left < max_rows ? left : max_rows}, launch};
}

__device__ inline float number_at(const void* data, std::int64_t i, DType dtype) {
  if (dtype == DType::f32) return static_cast<const float*>(data)[i];
  const std::uint16_t word = static_cast<const std::uint16_t*>(data)[i];
  return dtype == DType::bf16 ? bfloat_to_float(word) : half_to_float(word);
}

// tanh(x) = sign(x) (1 - 2 / (exp(2 |x|) + 1)), absolute error below 4e-7, without a branch.
__device__ inline float tanh_fast(float x) {
  const float size = fminf(fabsf(x), 20.0f);
  return copysignf(1.0f - __fdividef(2.0f, exp2_fast(2.0f * kLog2E * size) + 1.0f), x);
}

// Logit in units of log 2 from <q, k> of a query that carries the softmax scale.
__device__ inline float logit_of(const Job& job, float score) {
  const float cap = job.args.logit_soft_cap;
  return (cap > 0.0f ? cap * tanh_fast(__fdividef(score, cap)) : score) * kLog2E;
}

// Queries [rows][d] in fp32, times the softmax scale, into shared memory.
__device__ inline void load_queries(const Job& job, float* out) {
  const AttendArgs& a = job.args;
  const int d = job.head_dim();
  for (int i = thread_idx(); i < job.rows * d; i += block_threads()) {
    out[i] = number_at(a.queries, query_at(job, i / d) + i % d, a.query_dtype) * a.softmax_scale;
  }
  __syncthreads();
}

// The running softmax of a row: reference in units of log 2.
struct RowState {
  float reference, sum;
};
__device__ inline float rescale(float from, float to) { return from == kNothing ? 0.0f : exp2_fast(from - to); }

// Logits [rows][count] in shared memory become weights 2^(s - reference); a warp takes a row. factor[row] is what all that was
// summed before must be multiplied with. Begins and ends with all threads together.
__device__ inline void softmax_step(int rows, int count, float* logits, RowState* state, float* factor) {
  __syncthreads();
  for (int row = warp_idx(); row < rows; row += block_threads() / kWarpLanes) {
    float* s = logits + row * count;
    float largest = kNothing, sum = 0.0f;
    for (int i = lane_idx(); i < count; i += kWarpLanes) largest = fmaxf(largest, s[i]);
    const RowState before = state[row];
    const float reference = fmaxf(before.reference, warp_max(largest));
    for (int i = lane_idx(); i < count; i += kWarpLanes) {
      s[i] = s[i] == kNothing ? 0.0f : exp2_fast(s[i] - reference);
      sum += s[i];
    }
    sum = warp_sum(sum);
    if (lane_idx() == 0) {
      factor[row] = rescale(before.reference, reference);
      state[row] = {reference, before.sum * factor[row] + sum};
    }
  }
  __syncthreads();
}

}  // namespace qjl::cuda
