// Codes the keys of whole pages: the bytes of the CPU's encode_keys.cpp.
//
//   mean    = of the page's keys before RoPE, int8 (page_mean.cuh)
//   x_t     = k_t - what the mean predicts, coded in the keys' frames (encode_group.cuh), 16 tokens of one value frame at a time
//   bytes   = codes packed as page.hpp says (pack.cuh), 8-bit scales below the page's largest
//
// Exact keys are copied, the paper's are sketched (paper_keys.cuh). A block takes a page of one kv head. Cost: per token and
// coordinate about 60 whole-number operations for the search of a scale; s2 four Hadamards a round.
#include "encode_page.cuh"
#include "launch.hpp"
#include "pack.cuh"
#include "paper_keys.cuh"

namespace qjl::cuda {
namespace {

template <int kDim>
struct KeyStorage {
  GroupStorage<kDim> group;
  alignas(16) std::uint8_t half[kDim * kMaxKeyBits / 8 * layout::kLineBytes];  // bytes of a half page
  float mean[kDim];
  float scales[layout::kPageTokens];
};

template <int kDim>
__device__ void encode_rotated_keys(const EncodeLaunch& launch, std::int64_t i, KeyStorage<kDim>& shared) {
  const CodecTables& tables = launch.tables;
  const CodeTraits& code = tables.shape.key;
  const int d = tables.shape.head_dim, parts = code.frames;
  const Share me = my_share();
  const PageRows rows = page_rows(launch.args, i);
  std::uint8_t* body = launch.args.bodies[i];
  const float mean_scale =
      encode_mean(me, tables, rows, {shared.group.y, shared.group.y + d * kGroup, shared.mean}, body + launch.at.mean);
  const GroupFrames frames{{key_frame(tables, 0), key_frame(tables, parts - 1)}, parts, tables.key_cross, false};
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    take_residual(me, tables, rows, frame, shared.mean, shared.group.x);
    const float scale = encode_group(me, shared.group, launch.books, frames, d, token_of(me, frame) >= rows.num_sinks);
    if (me.part == 0) shared.scales[layout::kFrameSlots * frame + me.lane] = scale;
    stage_keys(me, code, d, frame, shared.group.codes, shared.half);
    __syncthreads();
    constexpr int kHalfFrames = layout::kFrames / layout::kHalves;
    if (frame % kHalfFrames != kHalfFrames - 1) continue;
    store_keys(code, d, frame / kHalfFrames, shared.half, body + launch.at.keys);
    __syncthreads();
  }
  const float largest = encode_scales(launch.scales, shared.scales, body + launch.at.key_scales);
  if (thread_idx() == 0) {
    launch.args.heads[i]->mean_scale = mean_scale;
    launch.args.heads[i]->key_scale_max = largest;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kDim) encode_keys_kernel(const __grid_constant__ EncodeLaunch launch) {
  auto& shared = shared_memory<KeyStorage<kDim>>();
  const layout::PageShape& shape = launch.tables.shape;
  const std::int64_t i = blockIdx.x;
  layout::PageHead& head = *launch.args.heads[i];
  if (thread_idx() == 0) {
    head.format_version = layout::kFormatVersion;
    head.key_code = static_cast<std::uint8_t>(shape.key_code);
    head.num_sinks = launch.args.num_sinks[i];
    head.mean_scale = head.key_scale_max = 0.0f;
  }
  switch (shape.key.book) {
    case Book::exact: return copy_rows(page_rows(launch.args, i), shape.head_dim, launch.args.bodies[i] + launch.at.keys);
    case Book::signs:
    case Book::levels: return encode_rotated_keys(launch, i, shared);
    case Book::fine:
    case Book::trellis: return;  // of the host
    case Book::sketch: return encode_sketch(launch, i, shared.group.y);
    case Book::minmax: return;  // values only
  }
}

}  // namespace

void encode_keys(const EncodeArgs& args) {
  launch_pages<KeyStorage>("encode_keys", encode_launch(args, args.tables->shape.key_code), encode_keys_kernel<kSmallDim>,
                           encode_keys_kernel<layout::kMaxHeadDim>);
}

}  // namespace qjl::cuda
