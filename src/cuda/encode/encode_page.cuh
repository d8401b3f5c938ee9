// What encode_keys.cu and encode_values.cu share: the launch's constants, and the end of a page, its 8-bit scales.
//
//   a block is one page of one kv head; kDim threads, kDim = kSmallDim or kMaxHeadDim
#pragma once

#include "encode_group.cuh"
#include "estimator.hpp"
#include "launcher.cuh"
#include "page_mean.cuh"

namespace qjl::cuda {

// Everything that a launch hands to its kernel, by value.
struct EncodeLaunch {
  CodecTables tables;
  layout::BodyLayout at;
  PageBooks books;
  ScaleTables scales;
  EncodeArgs args;
};
inline EncodeLaunch encode_launch(const EncodeArgs& args, Code code) {
  return {*args.tables, layout::body_layout(args.tables->shape), page_books(code), kScaleTables, args};
}

__device__ inline PageRows page_rows(const EncodeArgs& args, std::int64_t i) {
  return {args.rows[i], args.token_stride, args.row_dtype, args.num_sinks[i]};
}

// 8-bit codes of the page's scales [128]; returns their maximum. In step at both ends.
__device__ inline float encode_scales(const ScaleTables& tables, const float* scales, std::uint8_t* codes) {
  __syncthreads();
  float largest = 0.0f;
  for (int slot = 0; slot < layout::kPageTokens; ++slot) largest = fmaxf(largest, scales[slot]);
  for (int slot = thread_idx(); slot < layout::kPageTokens; slot += block_threads()) {
    codes[slot] = scale_code(scales[slot], largest, tables);
  }
  __syncthreads();
  return largest;
}

// The exact rows of a page in slot order, sinks as zero.
__device__ inline void copy_rows(const PageRows& rows, int d, std::uint8_t* out) {
  auto* numbers = reinterpret_cast<std::uint16_t*>(out);
  for (int i = thread_idx(); i < layout::kPageTokens * d; i += block_threads()) {
    const int token = layout::token_of_slot(i / d);
    numbers[i] = token < rows.num_sinks ? std::uint16_t{0} : rows.data[token * rows.token_stride + i % d];
  }
}

// The smaller or the larger of a kernel's two sizes, one block a page.
template <template <int> typename Storage, typename Kernel>
void launch_pages(const char* verb, const EncodeLaunch& arguments, Kernel small, Kernel large) {
  const auto pages = static_cast<unsigned>(arguments.args.count);
  if (arguments.tables.shape.head_dim <= kSmallDim)
    launch(verb, small, {pages, 1, kSmallDim, sizeof(Storage<kSmallDim>)}, arguments.args.stream, arguments);
  else
    launch(verb, large, {pages, 1, layout::kMaxHeadDim, sizeof(Storage<layout::kMaxHeadDim>)}, arguments.args.stream, arguments);
}

}  // namespace qjl::cuda
