// Attention over rows of 16-bit numbers: sinks, the open tail, a new chunk.
//
//   logit = <q, k_t>,  out[row][c] += sum_t weight[row][t] v_t[c]       up to 128 tokens a step
//
// A thread dots one token with the block's rows; then it owns channels and goes over the tokens. Cost: 2 rows * d multiply-adds a
// token and one read of keys and values.
#pragma once

#include "half.hpp"
#include "piece.cuh"

namespace qjl::cuda {

// Two 16-bit numbers of a word.
__device__ inline float2 pair_of(unsigned word, DType dtype) {
  if (dtype == DType::bf16) return {__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u)};
#if defined(__CUDACC__)
  float2 pair;
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(pair.x), "=f"(pair.y) : "r"(word));
  return pair;
#else
  return {half_to_float(static_cast<std::uint16_t>(word)), half_to_float(static_cast<std::uint16_t>(word >> 16))};
#endif
}

// 8 numbers of a row: one load where the rows stand on 16-byte borders.
__device__ inline uint4 eight_numbers(const std::uint16_t* at, bool aligned) {
  if (aligned) return load16(at);
  const auto pair = [at](int i) { return static_cast<unsigned>(at[i]) | static_cast<unsigned>(at[i + 1]) << 16; };
  return {pair(0), pair(2), pair(4), pair(6)};
}
__device__ inline bool is_aligned(const ExactRows& rows) {
  constexpr std::uint64_t kBytes = 15;
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(rows.keys));
  const std::uint64_t strides = static_cast<std::uint64_t>(rows.head_stride | rows.token_stride) * sizeof(std::uint16_t);
  return ((address | strides) & kBytes) == 0;
}

// <q[row], key> for kRows rows of q [kRows][d].
template <int kRows>
__device__ inline void dot_rows(const Job& job, const float* q, const std::uint16_t* key, bool aligned, float (&sum)[kRows]) {
  const int d = job.head_dim();
#pragma unroll 2
  for (int c = 0; c < d; c += 8) {
    const uint4 words = eight_numbers(key + c, aligned);
    const float2 k[4] = {pair_of(words.x, job.args.row_dtype), pair_of(words.y, job.args.row_dtype),
                         pair_of(words.z, job.args.row_dtype), pair_of(words.w, job.args.row_dtype)};
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 x = *reinterpret_cast<const float2*>(q + row * d + c + 2 * i);
        sum[row] = fmaf(x.y, k[i].y, fmaf(x.x, k[i].x, sum[row]));
      }
    }
  }
}

// Logits [rows][128] of `count` tokens at position `base`.
template <int kRows>
__device__ inline void score_rows(const Job& job, const float* q, const ExactRows& rows, std::int64_t first, int count,
                                  float* logits) {
  const bool aligned = is_aligned(rows);
  for (int t = thread_idx(); t < layout::kPageTokens; t += block_threads()) {
    float sum[kRows] = {};
    if (t < count) {
      const std::uint16_t* key = rows.keys + job.piece.kv_head * rows.head_stride + (first + t) * rows.token_stride;
      dot_rows<kRows>(job, q, key, aligned, sum);
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if (row >= job.rows) break;
      const Window window = row_window(job, row, rows.first_position + first, 0, count);
      logits[row * layout::kPageTokens + t] = t >= window.first && t <= window.last ? logit_of(job, sum[row]) : kNothing;
    }
  }
}

// Weights [rows][128] of a step's tokens, and what all before it is multiplied with.
struct StepWeights {
  const float *weight, *factor;
};

// out [rows][d] = factor out + weights v, thread by channel.
template <int kRows>
__device__ inline void weigh_rows(const Job& job, const ExactRows& rows, std::int64_t first, int count, const StepWeights& step,
                                  float* out) {
  const int d = job.head_dim();
  const std::uint16_t* values = rows.values + job.piece.kv_head * rows.head_stride + first * rows.token_stride;
  for (int c = thread_idx(); c < d; c += block_threads()) {
    float sum[kRows] = {};
#pragma unroll 4
    for (int t = 0; t < count; ++t) {
      const std::uint16_t word = values[t * rows.token_stride + c];
      const float v = job.args.row_dtype == DType::bf16 ? bfloat_to_float(word) : half_to_float(word);
#pragma unroll
      for (int row = 0; row < kRows; ++row) sum[row] = fmaf(step.weight[row * layout::kPageTokens + t], v, sum[row]);
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if (row < job.rows) out[row * d + c] = fmaf(step.factor[row], out[row * d + c], sum[row]);
    }
  }
}

// Where attend keeps what it needs for exact rows, in shared memory. Rows beyond job.rows hold zeros. Only out and state are needed
// when all is done.
template <int kRows, int kDim>
struct ExactScratch {
  float query[kRows * kDim];  // [kRows][d]
  float logits[kRows * layout::kPageTokens];
  float factor[kRows];
};
template <int kRows, int kDim>
struct ExactResult {
  float out[kRows * kDim];  // [kRows][d]
  RowState state[kRows];
};

// All exact rows of the piece, into result. Ends with all threads together.
template <int kRows, int kDim>
__device__ inline void attend_exact(const Job& job, ExactScratch<kRows, kDim>& scratch, ExactResult<kRows, kDim>& result) {
  for (int i = thread_idx(); i < kRows * kDim; i += block_threads()) result.out[i] = scratch.query[i] = 0.0f;
  for (int i = thread_idx(); i < kRows * layout::kPageTokens; i += block_threads()) scratch.logits[i] = 0.0f;
  if (thread_idx() < kRows) result.state[thread_idx()] = {kNothing, 0.0f};
  __syncthreads();
  load_queries(job, scratch.query);
  const Range range = visible(job);
  for (int i = 0; i < job.args.num_exact; ++i) {
    const ExactRows& rows = job.args.exact[i];
    const std::int64_t begin = larger(range.first - rows.first_position, 0);
    const std::int64_t end = smaller(range.end - rows.first_position, rows.count);
    for (std::int64_t t = begin; t < end; t += layout::kPageTokens) {
      const int count = static_cast<int>(smaller(layout::kPageTokens, end - t));
      score_rows<kRows>(job, scratch.query, rows, t, count, scratch.logits);
      softmax_step(job.rows, layout::kPageTokens, scratch.logits, result.state, scratch.factor);
      weigh_rows<kRows>(job, rows, t, count, {scratch.logits, scratch.factor}, result.out);
      __syncthreads();
    }
  }
}

}  // namespace qjl::cuda
