// What a block of attend works on: up to kRows rows of one piece, and which tokens each row sees.
//
//   row r of the block = row first_row + r of the piece; row = query * heads + head, as AttendPiece says
//   logits are kept in units of log 2: 2^x is one instruction
#pragma once

#include "args.hpp"
#include "half.hpp"
#include "levels.cuh"
#include "softmax_state.hpp"
#include "thread.cuh"

namespace qjl::cuda {

// Everything that a launch of attend hands to its kernel, by value.
struct AttendLaunch {
  CodecTables tables;
  layout::BodyLayout at;
  Levels key_levels, value_levels;
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
  launched.key_levels = levels_of(tables.shape.key_code);
  launched.value_levels = levels_of(tables.shape.value_code);
  launched.key_bytes = byte_levels_of(tables.shape.key_code);
  launched.value_bytes = byte_levels_of(tables.shape.value_code);
  return launched;
}

struct Job {
  const AttendLaunch& launch;
  const AttendArgs& args;
  const AttendPiece& piece;
  int first_row, rows;  // rows of this block, at most its kRows

  __device__ const CodecTables& tables() const { return launch.tables; }
  __device__ int head_dim() const { return launch.tables.shape.head_dim; }
  __device__ int head_in_group(int row) const { return (first_row + row) % piece.num_heads_in_group; }
  __device__ std::int64_t query(int row) const { return piece.first_query + (first_row + row) / piece.num_heads_in_group; }
  __device__ std::int64_t position(int row) const { return args.first_query_position + query(row); }
};

// blockIdx.x is the piece, blockIdx.y the group of rows.
__device__ inline Job find_job(const AttendLaunch& launch, int max_rows) {
  const std::int64_t i = blockIdx.x;
  const AttendPiece& piece = launch.requests == nullptr ? launch.piece : launch.pieces[i];
  const AttendArgs& args = launch.requests == nullptr ? launch.args : launch.requests[launch.request_of_piece[i]];
  const int first = static_cast<int>(blockIdx.y) * max_rows, left = piece.num_queries * piece.num_heads_in_group - first;
  return {launch, args, piece, first, left < max_rows ? left : max_rows};
}

__device__ inline std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
__device__ inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Positions [first, end) that some row of the block sees.
struct Range {
  std::int64_t first, end;
};
__device__ inline Range visible(const Job& job) {
  const std::int64_t window = job.args.sliding_window;
  const std::int64_t first = window > 0 ? job.position(0) - window + 1 : 0;
  return {larger(first, job.piece.first_position), smaller(job.position(job.rows - 1) + 1, job.piece.end_position)};
}

// Tokens first .. last of a block of `count` tokens at position `base` that a row sees; the first `begin` never count.
struct Window {
  int first, last;
};
__device__ inline Window row_window(const Job& job, int row, std::int64_t base, int begin, int count) {
  const std::int64_t position = job.position(row), window = job.args.sliding_window;
  std::int64_t first = larger(begin, job.piece.first_position - base);
  const std::int64_t last = smaller(count - 1, smaller(job.piece.end_position - 1, position) - base);
  if (window > 0) first = larger(first, position - window + 1 - base);
  return {static_cast<int>(smaller(first, count)), static_cast<int>(larger(last, -1))};
}

// Sealed pages [first, end) that some row sees, and those of them, [whole_first, whole_end), of which every row sees every token.
struct PageRange {
  int first, end;
  int whole_first, whole_end;
};
__device__ inline PageRange visible_pages(const Job& job) {
  constexpr std::int64_t kPage = layout::kPageTokens;
  const Range range = visible(job);
  if (range.end <= range.first) return {0, 0, 0, 0};
  const std::int64_t end = smaller(job.args.pages.count, (range.end + kPage - 1) / kPage), window = job.args.sliding_window;
  const std::int64_t seen_first = window > 0 ? larger(job.position(job.rows - 1) - window + 1, 0) : 0;
  const std::int64_t whole_first = (larger(seen_first, job.piece.first_position) + kPage - 1) / kPage;
  const std::int64_t whole_end = smaller(job.position(0) + 1, job.piece.end_position) / kPage;
  return {static_cast<int>(range.first / kPage), static_cast<int>(end), static_cast<int>(whole_first), static_cast<int>(whole_end)};
}
__device__ inline const std::uint8_t* body_at(const Job& job, std::int64_t page) {
  const SealedPages& pages = job.args.pages;
  return pages.bodies + job.piece.kv_head * pages.body_head_stride + pages.page_table[page] * pages.body_page_stride;
}
__device__ inline const layout::PageHead& head_at(const Job& job, std::int64_t page) {
  const SealedPages& pages = job.args.pages;
  return pages.heads[job.piece.kv_head * pages.head_head_stride + pages.page_table[page] * pages.head_page_stride];
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
  const std::int64_t first_head =
      std::int64_t{job.piece.kv_head} * (a.num_query_heads / a.num_kv_heads) + job.piece.first_head_in_group;
  for (int i = thread_idx(); i < job.rows * d; i += block_threads()) {
    const int row = i / d;
    const std::int64_t at = (first_head + job.head_in_group(row)) * a.query_head_stride + job.query(row) * a.query_token_stride;
    out[i] = number_at(a.queries, at + i % d, a.query_dtype) * a.softmax_scale;
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
