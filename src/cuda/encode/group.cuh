// Sixteen vectors at once, the tokens of one value frame: arrays are [coordinate][16] in shared memory. A thread has a lane, its
// vector, and a part, one of the block's threads / 16 shares of the coordinates. Two parts are a warp and take neighbours.
//
//   hadamard_...       y = H x, Sylvester order: levels in ascending order, the same additions as the CPU's rotate/tokens.hpp
//   sum_of(d, term)   sum_c term(c) in four sums c mod 4, as the CPU's encode/tokens.hpp: the bytes of a page depend on the order
//
// Every function is called by the whole block and begins and ends in step (__syncthreads) where it says so.
#pragma once

#include "args.hpp"
#include "frame.hpp"
#include "thread.cuh"

namespace qjl::cuda {

inline constexpr int kGroup = layout::kFrameSlots;         // 16 vectors
inline constexpr int kChains = 4;                          // sums under way
inline constexpr int kSmallDim = layout::kMaxHeadDim / 2;  // kernels come in two sizes

struct Share {
  int lane, part, parts;
};
__device__ inline Share my_share() {
  return {static_cast<int>(threadIdx.x) % kGroup, static_cast<int>(threadIdx.x) / kGroup, static_cast<int>(blockDim.x) / kGroup};
}

// work(c) for the coordinates of this thread.
template <typename Work>
__device__ inline void each_coordinate(const Share& me, int count, const Work& work) {
  for (int c = me.part; c < count; c += me.parts) work(c);
}

// v <- H v in registers.
template <int kRows, typename T>
__device__ inline void butterflies(T (&v)[kRows]) {
#pragma unroll
  for (int apart = 1; apart < kRows; apart *= 2) {
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if ((k & apart) != 0) continue;
      const T a = v[k], b = v[k + apart];
      v[k] = a + b;
      v[k + apart] = a - b;
    }
  }
}

// turn(v) on the kRows numbers first + k width of every stretch of kRows * width coordinates; v has numbers of type T.
template <int kRows, typename T, typename Turn>
__device__ inline void each_stretch(const Share& me, int d, int width, const Turn& turn) {
  for (int task = me.part; task < d / kRows; task += me.parts) {
    const int first = task / width * (kRows * width) + task % width;
    T v[kRows];
    turn(first, v);
  }
}

// The levels of a Hadamard between pairs 16 and more apart: work(rows constant) for d = 64 or 128, or 256 in the larger kernels.
template <int kRows>
struct RowCount {
  static constexpr int value = kRows;
};
template <int kDim, typename Work>
__device__ inline void with_far_rows(int d, const Work& work) {
  if constexpr (kDim > kSmallDim)
    work(RowCount<kDim / kGroup>());
  else if (d == kSmallDim)
    work(RowCount<kSmallDim / kGroup>());
  else
    work(RowCount<kSmallDim / kGroup / 2>());
}

// y = H x with x(c) this lane's coordinate c. In step at the end; x may read y.
template <int kDim, typename Read>
__device__ inline void hadamard_of(const Share& me, const Read& x, float* y, int d) {
  each_stretch<kGroup, float>(me, d, 1, [&](int first, float(&v)[kGroup]) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) v[k] = x(first + k);
    butterflies(v);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) y[(first + k) * kGroup + me.lane] = v[k];
  });
  __syncthreads();
  with_far_rows<kDim>(d, [&](auto rows) {
    constexpr int kRows = decltype(rows)::value;
    each_stretch<kRows, float>(me, d, kGroup, [&](int first, float(&v)[kRows]) {
#pragma unroll
      for (int k = 0; k < kRows; ++k) v[k] = y[(first + k * kGroup) * kGroup + me.lane];
      butterflies(v);
#pragma unroll
      for (int k = 0; k < kRows; ++k) y[(first + k * kGroup) * kGroup + me.lane] = v[k];
    });
  });
  __syncthreads();
}
template <int kDim>
__device__ inline void hadamard_plain(const Share& me, float* y, int d) {
  hadamard_of<kDim>(me, [&](int c) { return y[c * kGroup + me.lane]; }, y, d);
}
// y = H (sign * x).
template <int kDim>
__device__ inline void hadamard_signed(const Share& me, const float* sign, const float* x, float* y, int d) {
  hadamard_of<kDim>(me, [&](int c) { return x[c * kGroup + me.lane] * sign[c]; }, y, d);
}

// y = M x for a matrix [d][d]; sums run over the coordinates in order. In step at the end.
__device__ inline void multiply(const Share& me, const float* matrix, const float* x, float* y, int d) {
  each_coordinate(me, d, [&](int i) {
    const float* row = matrix + std::int64_t{i} * d;
    float sum = 0.0f;
    for (int j = 0; j < d; ++j) sum = sum + row[j] * x[j * kGroup + me.lane];
    y[i * kGroup + me.lane] = sum;
  });
  __syncthreads();
}

// (s0 + s1) + (s2 + s3) with s_k the sum of chain(k) for this lane; chains [4][16] is for this alone. In step at both ends.
template <typename Chain>
__device__ inline float sum_chains(const Share& me, float* chains, const Chain& chain) {
  __syncthreads();
  for (int k = me.part; k < kChains; k += me.parts) chains[k * kGroup + me.lane] = chain(k);
  __syncthreads();
  const float* s = chains + me.lane;
  return (s[0] + s[kGroup]) + (s[2 * kGroup] + s[3 * kGroup]);
}
template <typename Term>
__device__ inline float sum_of(const Share& me, float* chains, int count, const Term& term) {
  return sum_chains(me, chains, [&](int k) {
    float sum = 0.0f;
    for (int c = k; c < count; c += kChains) sum = sum + term(c);
    return sum;
  });
}

}  // namespace qjl::cuda
