// Projects queries once, before any page is read: rotated by the keys' frames, or sketched. See device/rotate.cuh.
//
//   rotated codes  [P_f q] for each frame f of a key       jl   [S q_in, S_o q_out]       exact   q itself
#include "launch.hpp"
#include "launcher.cuh"
#include "rotate.cuh"

namespace qjl::cuda {
namespace {

constexpr int kRows = 4;
constexpr unsigned kThreads = 256;

struct ProjectLaunch {
  CodecTables tables;
  ProjectArgs args;
};

struct SharedStorage {
  float query[kRows * layout::kMaxHeadDim];

  __device__ float* projected() { return reinterpret_cast<float*>(this + 1); }  // [kRows][coordinates]
};

__global__ void __launch_bounds__(kThreads) project_kernel(const __grid_constant__ ProjectLaunch launch) {
  // Who am I.
  auto& shared = shared_memory<SharedStorage>();
  const int first = static_cast<int>(blockIdx.x) * kRows, left = launch.args.rows - first, rows = left < kRows ? left : kRows;
  const int d = launch.tables.shape.head_dim, width = layout::key_coordinates(launch.tables.shape);
  // What is read once.
  for (int i = thread_idx(); i < rows * d; i += block_threads()) shared.query[i] = launch.args.queries[std::int64_t{first} * d + i];
  // The loop, nothing to reduce, store.
  project_rows(launch.tables, shared.query, rows, launch.args.outlier_idx, shared.projected());
  for (int i = thread_idx(); i < rows * width; i += block_threads()) {
    launch.args.projected[std::int64_t{first} * width + i] = shared.projected()[i];
  }
}

}  // namespace

void project_query(const ProjectArgs& args) {
  const std::size_t shared =
      sizeof(SharedStorage) + kRows * sizeof(float) * static_cast<std::size_t>(layout::key_coordinates(args.tables->shape));
  launch("project_query", project_kernel, {static_cast<unsigned>((args.rows + kRows - 1) / kRows), 1, kThreads, shared},
         args.stream, ProjectLaunch{*args.tables, args});
}

}  // namespace qjl::cuda
