// Where pages that are about to be coded stand, as the arrays that EncodeArgs wants: made on the device, so that an append needs no
// copy from the host and can be captured in a graph.
//
// A block takes a page of one kv head. With outliers (jl) a page that is not the sequence's first gets that one's list of channels.
#include "launch.hpp"
#include "launcher.cuh"
#include "thread.cuh"

namespace qjl::cuda {
namespace {

constexpr int kThreads = 64;

__global__ void __launch_bounds__(kThreads) place_pages_kernel(const __grid_constant__ PlacePagesArgs args) {
  const int i = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const bool starts = args.starts && i == 0;
  const auto body_of = [&](std::int32_t page) { return args.bodies + head * args.body_head_stride + page * args.body_page_stride; };
  std::uint8_t* body = body_of(args.page[i]);
  if (thread_idx() == 0) {
    const int item = i * args.num_kv_heads + head;
    args.key_rows[item] = args.keys + head * args.row_head_stride + i * args.row_page_stride;
    args.value_rows[item] = args.values + head * args.row_head_stride + i * args.row_page_stride;
    args.body_at[item] = body;
    args.head_at[item] = args.heads + head * args.head_head_stride + args.page[i] * args.head_page_stride;
    args.sinks_at[item] = starts ? args.num_sinks : std::uint8_t{0};
    args.choose_at[item] = starts ? 1 : 0;
  }
  if (starts) return;
  const std::uint8_t* first = body_of(args.first_page);
  for (std::int64_t k = thread_idx(); k < args.outlier_bytes; k += kThreads) {
    body[args.outlier_idx + k] = first[args.outlier_idx + k];
  }
}

}  // namespace

void place_pages(const PlacePagesArgs& args) {
  launch("place_pages", place_pages_kernel,
         {static_cast<unsigned>(args.count), static_cast<unsigned>(args.num_kv_heads), kThreads, 0}, args.stream, args);
}

}  // namespace qjl::cuda
