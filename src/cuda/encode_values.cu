// Codes the values of whole pages: the bytes of the CPU's encode_values.cpp. No mean; the frame of token t is t mod 8, so the 16
// tokens of a group share one frame.
//
//   x_t   = v_t, coded in the frames 8-cycle (encode_group.cuh)
//   bytes = per frame, per 16 channels: 32-bit words of 4 tokens a byte, packed as page.hpp says (pack.cuh); 8-bit scales
//
// Exact values are copied, the paper's are min-max coded (paper_values.cuh). A block takes a page of one kv head.
#include "encode_page.cuh"
#include "launch.hpp"
#include "pack.cuh"
#include "paper_values.cuh"

namespace qjl::cuda {
namespace {

template <int kDim>
struct ValueStorage {
  GroupStorage<kDim> group;
  float scales[layout::kPageTokens];
};

template <int kDim>
__device__ void encode_rotated_values(const EncodeLaunch& launch, std::int64_t i, ValueStorage<kDim>& shared) {
  const CodecTables& tables = launch.tables;
  const CodeTraits& code = tables.shape.value;
  const int d = tables.shape.head_dim, parts = code.frames;
  const std::int64_t frame_bytes = std::int64_t{layout::value_lines_per_frame(code, d)} * layout::kLineBytes;
  const Share me = my_share();
  const PageRows rows = page_rows(launch.args, i);
  std::uint8_t* body = launch.args.bodies[i];
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const int token = token_of(me, frame), first = frame * parts;
    each_coordinate(me, d, [&](int c) { shared.group.x[c * kGroup + me.lane] = rows.at(token, c); });
    const GroupFrames frames{{value_frame(tables, first), value_frame(tables, first + parts - 1)},
                             parts,
                             tables.value_cross == nullptr ? nullptr : tables.value_cross + std::int64_t{frame} * d * d,
                             true};
    const float scale = encode_group(me, shared.group, launch.books, frames, d, token >= rows.num_sinks);
    if (me.part == 0) shared.scales[layout::kFrameSlots * frame + me.lane] = scale;
    store_values(me, code, d, shared.group.codes, body + launch.at.values + frame * frame_bytes);
    __syncthreads();
  }
  const float largest = encode_scales(launch.scales, shared.scales, body + launch.at.value_scales);
  if (thread_idx() == 0) launch.args.heads[i]->value_scale_max = largest;
}

template <int kDim>
__global__ void __launch_bounds__(kDim) encode_values_kernel(const __grid_constant__ EncodeLaunch launch) {
  auto& shared = shared_memory<ValueStorage<kDim>>();
  const layout::PageShape& shape = launch.tables.shape;
  const std::int64_t i = blockIdx.x;
  std::uint8_t* body = launch.args.bodies[i];
  if (thread_idx() == 0) {
    launch.args.heads[i]->value_code = static_cast<std::uint8_t>(shape.value_code);
    launch.args.heads[i]->value_scale_max = 0.0f;
  }
  switch (shape.value.book) {
    case Book::exact: return copy_rows(page_rows(launch.args, i), shape.head_dim, body + launch.at.values);
    case Book::signs:
    case Book::levels: return encode_rotated_values(launch, i, shared);
    case Book::fine:
    case Book::trellis: return;  // of the host
    case Book::sketch: return;   // keys only
    case Book::minmax: return encode_minmax(launch, i);
  }
}

}  // namespace

void encode_values(const EncodeArgs& args) {
  launch_pages<ValueStorage>("encode_values", encode_launch(args, args.tables->shape.value_code), encode_values_kernel<kSmallDim>,
                             encode_values_kernel<layout::kMaxHeadDim>);
}

}  // namespace qjl::cuda
