// Rows of numbers into rows of 16-bit numbers: rounded once, to nearest, ties to even, as the CPU's doors round.
//
//   to[head][token][c] = round(from[head][token][c])       a number that is not finite there sets *misfit, or is clamped first
//
// A thread takes one number; neighbours take neighbouring channels.
#include "half.hpp"
#include "launch.hpp"
#include "launcher.cuh"
#include "thread.cuh"

namespace qjl::cuda {
namespace {

constexpr int kThreads = 256;

__device__ std::uint16_t rounded(const CopyRowsArgs& args, std::int64_t at) {
  if (args.from_dtype == DType::f32) {
    const float number = static_cast<const float*>(args.from)[at];
    return from_float(args.saturates && args.to_dtype == DType::f16 ? fminf(fmaxf(number, -kHalfMax), kHalfMax) : number,
                      args.to_dtype);
  }
  const std::uint16_t number = static_cast<const std::uint16_t*>(args.from)[at];
  return args.from_dtype == args.to_dtype ? number : from_float(to_float(number, args.from_dtype), args.to_dtype);
}

__global__ void __launch_bounds__(kThreads) copy_rows_kernel(const __grid_constant__ CopyRowsArgs args) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + thread_idx(), head = blockIdx.y;
  if (i >= args.count * args.dim) return;
  const std::int64_t token = i / args.dim, c = i % args.dim;
  const std::uint16_t number = rounded(args, head * args.from_head_stride + token * args.from_token_stride + c);
  const unsigned infinity = args.to_dtype == DType::bf16 ? 0x7f80u : 0x7c00u;
  if (args.misfit != nullptr && (number & infinity) == infinity) *args.misfit = 1;
  args.to[head * args.to_head_stride + token * args.to_token_stride + c] = number;
}

}  // namespace

void copy_rows(const CopyRowsArgs& args) {
  const std::int64_t blocks = (args.count * args.dim + kThreads - 1) / kThreads;
  launch("copy_rows", copy_rows_kernel, {static_cast<unsigned>(blocks), static_cast<unsigned>(args.heads), kThreads, 0},
         args.stream, args);
}

}  // namespace qjl::cuda
