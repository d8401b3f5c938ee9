// Who a thread is and how threads meet: the only file, beside mma.cuh, that knows whether a device or the tests' host runs it.
//
//   warp     32 lanes; lane 4 g + t of a matrix product has row (or column) g and the t-th share of its inner dimension
//   block    warps that share memory
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace qjl::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr float kNothing = -__builtin_huge_valf();  // the logit of a token that does not count

__device__ inline int thread_idx() { return static_cast<int>(threadIdx.x); }
__device__ inline int block_threads() { return static_cast<int>(blockDim.x); }
// Read anew wherever it is asked for: the compiler would else keep every address that follows from it in a register over the whole
// loop, and push sums into local memory.
__device__ inline int lane_idx() {
#if defined(__CUDACC__)
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
#else
  return thread_idx() % kWarpLanes;
#endif
}
__device__ inline int warp_idx() { return static_cast<int>(threadIdx.x / kWarpLanes); }
// x, of which the compiler knows nothing: the same for a thread's other numbers.
__device__ inline int anew(int x) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(x));
#endif
  return x;
}
// g and t of lane 4 g + t.
__device__ inline int lane_group() { return static_cast<int>(static_cast<unsigned>(lane_idx()) / 4); }
__device__ inline int lane_part() { return static_cast<int>(static_cast<unsigned>(lane_idx()) % 4); }

// The block's dynamic shared memory as a struct.
template <typename Storage>
__device__ inline Storage& shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char memory[];
#else
  unsigned char* memory = simt::shared_memory();
#endif
  return *reinterpret_cast<Storage*>(memory);
}

// Largest and sum over all lanes.
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int mask = 1; mask < kWarpLanes; mask *= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, mask));
  return x;
}
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int mask = 1; mask < kWarpLanes; mask *= 2) x += __shfl_xor_sync(kAllLanes, x, mask);
  return x;
}

// 2^x within 2^-22, one instruction; 0 for -infinity and below 2^-126.
__device__ inline float exp2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return x < -126.0f ? 0.0f : std::exp2(x);
#endif
}

// Byte i of the result is the byte of high:low that nibble i of the selector names; bits 3 of its nibbles must be clear. (The
// intrinsic of this instruction clears them each time.)
__device__ inline std::uint32_t permute_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
#if defined(__CUDACC__)
  std::uint32_t bytes;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(selector));
  return bytes;
#else
  return __byte_perm(low, high, selector);
#endif
}

// 16 bytes through the read-only path.
__device__ inline uint4 load16(const void* at) {
#if defined(__CUDACC__)
  return __ldg(static_cast<const uint4*>(at));
#else
  uint4 x;
  std::memcpy(&x, at, sizeof(x));
  return x;
#endif
}

// A word of the device's memory through the read-only path.
__device__ inline std::uint32_t load4(const std::uint32_t* at) {
#if defined(__CUDACC__)
  return __ldg(at);
#else
  return *at;
#endif
}

// Whether one lane asks for a whole page at once.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
inline constexpr bool kBulkPrefetch = true;
#else
inline constexpr bool kBulkPrefetch = false;
#endif

// Asks for `bytes` from `at` of the device's memory, both multiples of 16, to come into its second-level cache: by one lane, or a
// whole warp.
__device__ inline void prefetch_page(const std::uint8_t* at, std::uint32_t bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at), "r"(bytes));
#elif defined(__CUDACC__)
  constexpr std::uint32_t kLine = 4 * kWarpLanes;
#pragma unroll 1
  for (std::uint32_t i = static_cast<std::uint32_t>(lane_idx()) * kLine; i < bytes; i += kWarpLanes * kLine)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at + i));
#else
  (void)at, (void)bytes;
#endif
}

}  // namespace qjl::cuda
