// CUDA's words on the host, enough for the kernels of src/cuda: their files compile as plain C++ and run with a fiber for each
// thread, block after block. Device memory is host memory, copies are done at once, every stream is in order.
//
//   __syncthreads       all threads of the block
//   warp operations     the lanes of the mask meet and see each other's numbers (simt::exchange); the rest is arithmetic
//
// A kernel that passes here has right arithmetic, indices and barriers; its speed and the memory model of a GPU are not shown.
// Built with AddressSanitizer the same run is a memory check.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "fibers.hpp"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace qjl::simt {

inline constexpr unsigned kWarp = 32;

unsigned char* shared_memory();  // of the running block; filled with a pattern before each block
void run(dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& kernel);
void barrier();  // of the block

// What each lane of `mask` brings, for all of them to see. At most 64 bytes.
inline constexpr std::size_t kMaxExchange = 64;
const std::uint8_t* exchange_bytes(unsigned mask, const void* mine, std::size_t bytes, const char* what);
template <typename T>
struct Lanes {
  const std::uint8_t* data;
  T operator[](unsigned lane) const {
    T number;
    std::memcpy(&number, data + lane * kMaxExchange, sizeof(T));
    return number;
  }
};
template <typename T>
Lanes<T> exchange(unsigned mask, const T& mine, const char* what) {
  static_assert(sizeof(T) <= kMaxExchange && std::is_trivially_copyable_v<T>);
  return {exchange_bytes(mask, &mine, sizeof(T), what)};
}
inline unsigned lane() { return threadIdx.x % kWarp; }

// A number from another lane; a lane outside the segment of `width` gives its own.
template <typename T>
T shuffle(unsigned mask, const T& mine, int from, bool inside) {
  const Lanes<T> all = exchange(mask, mine, "a shuffle");
  return inside ? all[static_cast<unsigned>(from)] : mine;
}
template <typename T, typename Join>
T reduce(unsigned mask, T mine, const Join& join) {
  const Lanes<T> all = exchange(mask, mine, "a warp reduction");
  bool first = true;
  T result{};
  for (unsigned i = 0; i < kWarp; ++i) {
    if ((mask >> i & 1) == 0) continue;
    result = first ? all[i] : join(result, all[i]);
    first = false;
  }
  return result;
}

}  // namespace qjl::simt

inline void __syncthreads() { qjl::simt::barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { qjl::simt::exchange(mask, 0, "__syncwarp"); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}

template <typename T>
T __shfl_sync(unsigned mask, T mine, int from, int width = 32) {
  const int lane = static_cast<int>(qjl::simt::lane()), base = lane / width * width;
  return qjl::simt::shuffle(mask, mine, base + (from & (width - 1)), true);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T mine, int with, int width = 32) {
  const int lane = static_cast<int>(qjl::simt::lane()), from = lane ^ with;
  return qjl::simt::shuffle(mask, mine, from, from / width <= lane / width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T mine, unsigned by, int width = 32) {
  const int lane = static_cast<int>(qjl::simt::lane()), from = lane - static_cast<int>(by);
  return qjl::simt::shuffle(mask, mine, from, from >= lane / width * width);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T mine, unsigned by, int width = 32) {
  const int lane = static_cast<int>(qjl::simt::lane()), from = lane + static_cast<int>(by);
  return qjl::simt::shuffle(mask, mine, from, from < lane / width * width + width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const auto all = qjl::simt::exchange(mask, predicate, "a ballot");
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i) bits |= (mask >> i & 1) != 0 && all[i] != 0 ? 1u << i : 0;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }
template <typename T>
T __reduce_add_sync(unsigned mask, T mine) {
  return qjl::simt::reduce(mask, mine, [](T a, T b) { return a + b; });
}
template <typename T>
T __reduce_max_sync(unsigned mask, T mine) {
  return qjl::simt::reduce(mask, mine, [](T a, T b) { return a > b ? a : b; });
}
template <typename T>
T __reduce_min_sync(unsigned mask, T mine) {
  return qjl::simt::reduce(mask, mine, [](T a, T b) { return a < b ? a : b; });
}

// Fibers change only where they wait, so plain reads and writes are atomic.
template <typename T, typename U>
T atomicAdd(T* at, U by) {
  const T before = *at;
  *at = static_cast<T>(before + by);
  return before;
}
template <typename T, typename U>
T atomicMax(T* at, U with) {
  const T before = *at;
  if (static_cast<T>(with) > before) *at = static_cast<T>(with);
  return before;
}
template <typename T, typename U>
T atomicOr(T* at, U bits) {
  const T before = *at;
  *at = static_cast<T>(before | bits);
  return before;
}

#include "arithmetic.hpp"
#include "matrix.hpp"
#include "runtime.hpp"
