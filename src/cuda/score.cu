// Scores one page of sealed keys against projected queries, in slot order.
//
//   out[row * 128 + slot] = <q, prediction of the mean> + scale[slot] * <projected, level[slot]>          see device/plain_page.cuh
//
// A block takes up to 4 rows. The verb serves tests and tools; attend has scores of its own.
#include "launch.hpp"
#include "launcher.cuh"
#include "plain_page.cuh"

namespace qjl::cuda {
namespace {

constexpr int kRows = 4;
constexpr unsigned kThreads = 256;

struct ScoreLaunch {
  CodecTables tables;
  layout::BodyLayout at;
  LevelTable levels;
  ScoreArgs args;
};

struct SharedStorage {
  float query[kRows * layout::kMaxHeadDim];
  float knots[kRows * layout::kKnotStride];

  __device__ float* projected() { return reinterpret_cast<float*>(this + 1); }  // [kRows][coordinates]
};

__global__ void __launch_bounds__(kThreads) score_kernel(const __grid_constant__ ScoreLaunch launch) {
  // Who am I.
  auto& shared = shared_memory<SharedStorage>();
  const int first = static_cast<int>(blockIdx.x) * kRows, left = launch.args.rows - first, rows = left < kRows ? left : kRows;
  const int d = launch.tables.shape.head_dim, width = layout::key_coordinates(launch.tables.shape);
  // What is read once.
  for (int i = thread_idx(); i < rows * d; i += block_threads()) shared.query[i] = launch.args.queries[std::int64_t{first} * d + i];
  for (int i = thread_idx(); i < rows * width; i += block_threads()) {
    shared.projected()[i] = launch.args.projected[std::int64_t{first} * width + i];
  }
  __syncthreads();
  // The loop, nothing to reduce, store.
  const PlainPage page{launch.tables, launch.at, launch.levels.entry, nullptr, *launch.args.head, launch.args.body};
  float* out = launch.args.out + std::int64_t{first} * layout::kPageTokens;
  score_page(page, {shared.query, shared.projected(), shared.knots, rows},
             [out](int row, int slot, float score) { out[row * layout::kPageTokens + slot] = score; });
}

}  // namespace

void score(const ScoreArgs& args) {
  const layout::PageShape& shape = args.tables->shape;
  const ScoreLaunch launched{*args.tables, layout::body_layout(shape), level_table(shape.key_code), args};
  const std::size_t shared =
      sizeof(SharedStorage) + kRows * sizeof(float) * static_cast<std::size_t>(layout::key_coordinates(shape));
  launch("score", score_kernel, {static_cast<unsigned>((args.rows + kRows - 1) / kRows), 1, kThreads, shared}, args.stream,
         launched);
}

}  // namespace qjl::cuda
