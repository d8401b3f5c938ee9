// Attention of a piece, for every code: pages a number at a time. See device/plain_page.cuh; attend.cu chooses.
#pragma once

#include "finish.cuh"
#include "plain_page.cuh"

namespace qjl::cuda {

inline constexpr int kPlainRows = 4;
inline constexpr unsigned kPlainThreads = 256;

struct PlainStorage {
  ExactScratch<kPlainRows, layout::kMaxHeadDim> exact;
  ExactResult<kPlainRows, layout::kMaxHeadDim> result;
  float knots[kPlainRows * layout::kKnotStride];
  RowState state[kPlainRows];  // of the sealed pages

  // Behind it: projected [kPlainRows][coordinates], then sums [kPlainRows][frames d].
  __device__ float* numbers() { return reinterpret_cast<float*>(this + 1); }
};

inline std::size_t plain_storage_bytes(const layout::PageShape& shape) {
  const int numbers = layout::key_coordinates(shape) + value_frames(shape) * shape.head_dim;
  return sizeof(PlainStorage) + sizeof(float) * kPlainRows * static_cast<std::size_t>(numbers);
}

// Sums of sealed pages into `sums`, scaled by their own reference.
__device__ inline void attend_pages_plain(const Job& job, PlainStorage& shared, float* projected, float* sums) {
  const PageRange pages = visible_pages(job);
  if (pages.first >= pages.end) return;
  project_rows(job.tables(), shared.exact.query, job.rows, body_at(job, pages.first) + job.launch.at.outlier_idx, projected);
  for (int i = pages.first; i < pages.end; ++i) {
    const PlainPage page{job.tables(),    job.launch.at,  job.launch.key_levels.entry, job.launch.value_levels.entry,
                         head_at(job, i), body_at(job, i)};
    const int sinks = page.head.num_sinks;
    score_page(page, {shared.exact.query, projected, shared.knots, job.rows}, [&](int row, int slot, float score) {
      const Window window = row_window(job, row, std::int64_t{i} * layout::kPageTokens, sinks, layout::kPageTokens);
      const int token = layout::token_of_slot(slot);
      const bool counts = token >= window.first && token <= window.last;
      shared.exact.logits[row * layout::kPageTokens + slot] = counts ? logit_of(job, score) : kNothing;
    });
    softmax_step(job.rows, layout::kPageTokens, shared.exact.logits, shared.state, shared.exact.factor);
    weigh_page(page, job.rows, shared.exact.logits, shared.exact.factor, sums);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kPlainThreads, 2) attend_plain_kernel(const __grid_constant__ AttendLaunch launch) {
  // Who am I.
  const Job job = find_job(launch, kPlainRows);
  if (job.rows <= 0) return;
  auto& shared = shared_memory<PlainStorage>();
  const layout::PageShape& shape = launch.tables.shape;
  const int d = shape.head_dim, frames = value_frames(shape);
  float* projected = shared.numbers();
  float* sums = projected + kPlainRows * layout::key_coordinates(shape);
  // What is read once.
  for (int i = thread_idx(); i < kPlainRows * frames * d; i += block_threads()) sums[i] = 0.0f;
  if (thread_idx() < kPlainRows) shared.state[thread_idx()] = {kNothing, 0.0f};
  attend_exact(job, shared.exact, shared.result);
  // The loop.
  attend_pages_plain(job, shared, projected, sums);
  // Reduce: frames to plain coordinates, sealed pages and exact rows to one reference.
  // Store, by the same function.
  finish_rows(job, {shared.result.out, shared.result.state}, shared.state, {sums, job.rows, frames, d, frames * d});
}

}  // namespace qjl::cuda
