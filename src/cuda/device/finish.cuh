// The end of a piece: frames back to plain coordinates, sealed pages and exact rows to one reference, results out.
//
//   out = 2^(m_e - m) exact + 2^(m_p - m) sum_f P_f^T sums_f,  m = max(m_e, m_p);  max = m ln 2, sum likewise
#pragma once

#include "exact_rows.cuh"
#include "rotate.cuh"

namespace qjl::cuda {

// sums [rows][frames][d] in shared memory, relative to `pages`, used up; rotated: they are sums in the values' frames.
template <int kRows, int kDim>
__device__ inline void finish_rows(const Job& job, ExactStorage<kRows, kDim>& exact, const RowState* pages, float* sums,
                                   int frames) {
  const int d = job.head_dim(), width = frames * d;
  const auto reference = [&](int row) { return fmaxf(exact.state[row].reference, pages[row].reference); };
  __syncthreads();
  for (int i = thread_idx(); i < job.rows * width; i += block_threads()) {
    sums[i] *= rescale(pages[i / width].reference, reference(i / width));
  }
  for (int i = thread_idx(); i < job.rows * d; i += block_threads()) {
    exact.out[i] *= rescale(exact.state[i / d].reference, reference(i / d));
    if (!layout::is_rotated(job.tables().shape.value_code)) exact.out[i] += sums[i];
  }
  if (layout::is_rotated(job.tables().shape.value_code)) {
    unrotate_values(job.tables(), sums, job.rows, frames, exact.out);
  }
  const AttendPiece& piece = job.piece;
  for (int i = thread_idx(); i < job.rows * d; i += block_threads()) piece.out[std::int64_t{job.first_row} * d + i] = exact.out[i];
  for (int row = thread_idx(); row < job.rows; row += block_threads()) {
    const RowState a = exact.state[row], b = pages[row];
    const float m = reference(row);
    piece.max[job.first_row + row] = m * (1.0f / kLog2E);
    piece.sum[job.first_row + row] = a.sum * rescale(a.reference, m) + b.sum * rescale(b.reference, m);
  }
}

}  // namespace qjl::cuda
