// The end of a piece: frames back to plain coordinates, sealed pages and exact rows to one reference, results out.
//
//   out = 2^(m_e - m) exact + 2^(m_p - m) sum_f P_f^T sums_f,  m = max(m_e, m_p);  max = m ln 2, sum likewise
#pragma once

#include "exact_rows.cuh"
#include "rotate.cuh"

namespace qjl::cuda {

// sums: rows of sums by frame (or of plain numbers), relative to `pages`, used up. `exact` has out and state of the exact rows.
struct ExactSums {
  float* out;  // [rows][d]
  const RowState* state;
};
__device__ inline void finish_rows(const Job& job, const ExactSums& exact, const RowState* pages, const Vectors& sums) {
  const int d = sums.d;
  const bool rotated = job.tables().shape.value.rotated();
  const auto reference = [&](int row) { return fmaxf(exact.state[row].reference, pages[row].reference); };
  __syncthreads();
  for (int row = 0; row < sums.rows; ++row) {
    const float of_pages = rescale(pages[row].reference, reference(row)),
                of_exact = rescale(exact.state[row].reference, reference(row));
    for (int i = thread_idx(); i < sums.a_row * d; i += block_threads()) sums.data[row * sums.stride + i] *= of_pages;
    for (int c = thread_idx(); c < d; c += block_threads()) {  // plain sums: the thread's own, just scaled
      exact.out[row * d + c] = fmaf(exact.out[row * d + c], of_exact, rotated ? 0.0f : sums.data[row * sums.stride + c]);
    }
  }
  if (rotated) unrotate_values(job.tables(), sums, exact.out);
  __syncthreads();
  const AttendPiece& piece = job.piece;
  for (int i = thread_idx(); i < sums.rows * d; i += block_threads()) piece.out[std::int64_t{job.first_row} * d + i] = exact.out[i];
  for (int row = thread_idx(); row < job.rows; row += block_threads()) {
    const RowState a = exact.state[row], b = pages[row];
    const float m = reference(row);
    piece.max[job.first_row + row] = m * (1.0f / kLog2E);
    piece.sum[job.first_row + row] = a.sum * rescale(a.reference, m) + b.sum * rescale(b.reference, m);
  }
}

}  // namespace qjl::cuda
