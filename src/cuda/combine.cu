// Merges the pieces of each block, in the order of positions, and divides by the sum.
//
//   m = max of maxima, out = sum exp(m_i - m) out_i / sum exp(m_i - m) sum_i, lse = m + ln(sum)          shared/softmax_state.hpp
//
// A block of threads takes a row: two reads of every piece's maximum and sum, one of its numbers.
#include "launch.hpp"
#include "launcher.cuh"
#include "softmax_state.hpp"
#include "thread.cuh"

namespace qjl::cuda {
namespace {

constexpr unsigned kThreads = 64;

__global__ void __launch_bounds__(kThreads) combine_kernel(const CombineBatch batch) {
  // Who am I.
  const CombineBlock& block = batch.blocks[blockIdx.x];
  const int row = static_cast<int>(blockIdx.y);
  if (row >= block.rows) return;
  const AttendPiece* pieces = batch.pieces + block.first_piece;
  // What is read once: the state of the whole.
  float max = kNothing, sum = 0.0f;
  for (int i = 0; i < block.num_pieces; ++i) max = fmaxf(max, pieces[i].max[row]);
  for (int i = 0; i < block.num_pieces; ++i) sum += pieces[i].sum[row] * rescale_factor(pieces[i].max[row], max);
  const float scale = max == kNothing ? 0.0f : 1.0f / sum;
  // The loop; a thread's channels are its own, so there is nothing to reduce; store.
  const int query = row / block.num_heads, head = row % block.num_heads;
  float* out = block.out + head * block.out_head_stride + query * block.out_token_stride;
  for (int c = thread_idx(); c < batch.head_dim; c += block_threads()) {
    float number = 0.0f;
    for (int i = 0; i < block.num_pieces; ++i) {
      const AttendPiece& piece = pieces[i];
      const float factor = rescale_factor(piece.max[row], max);
      if (factor != 0.0f) number = fmaf(factor, piece.out[std::int64_t{row} * batch.head_dim + c], number);
    }
    out[c] = number * scale;
  }
  if (thread_idx() == 0 && block.lse != nullptr) {
    block.lse[head * block.lse_head_stride + query] = log_sum_exp(SoftmaxState{max, sum});
  }
}

}  // namespace

void combine(const CombineBatch& batch) {
  launch("combine", combine_kernel, {static_cast<unsigned>(batch.num_blocks), static_cast<unsigned>(batch.max_rows), kThreads, 0},
         batch.stream, batch);
}

}  // namespace qjl::cuda
