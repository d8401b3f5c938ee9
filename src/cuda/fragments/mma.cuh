// Matrix products of one warp in integers: d += a b, exact.
//
//   m16n8, lane = 4 g + t:  d[0], d[1]: row g, columns 2t, 2t + 1;  d[2], d[3]: row g + 8
//   bytes  K = 32:   a[0], a[1]: rows g, g + 8, K 4t .. 4t + 3;  a[2], a[3]: K 16 + 4t ..;  b[0], b[1]: column g, the same K
//   bits   K = 256:  the same with K 32t .. 32t + 31 and 128 + 32t .. (d += popcount(a and b))
//
// All lanes must come to a product together: whoever calls one after lanes have parted says __syncwarp() first.
// Bits are one instruction on sm_80 to sm_90; later devices emulate them, so there kernels multiply bytes (kNativeBits).
#pragma once

#include "thread.cuh"

namespace qjl::cuda {

using Sums = int[4];
using FragmentA = std::uint32_t[4];
using FragmentB = std::uint32_t[2];

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
inline constexpr bool kNativeBits = false;
#else
inline constexpr bool kNativeBits = true;
#endif

#if defined(__CUDACC__)
#define QJL_MMA(instruction)                                                                  \
  asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#endif

// Signed by signed bytes.
__device__ inline void multiply_signed(Sums& d, const FragmentA& a, const FragmentB& b) {
#if defined(__CUDACC__)
  QJL_MMA("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32");
#else
  simt::multiply_bytes<std::int8_t>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
#endif
}

// Signed by unsigned bytes.
__device__ inline void multiply_unsigned(Sums& d, const FragmentA& a, const FragmentB& b) {
#if defined(__CUDACC__)
  QJL_MMA("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32");
#else
  simt::multiply_bytes<std::uint8_t>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
#endif
}

// Bits, not in place: many sums begin with the same c.
__device__ inline void multiply_bits(Sums& d, const FragmentA& a, const FragmentB& b, const Sums& c) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#else
  for (int i = 0; i < 4; ++i) d[i] = c[i];
  simt::multiply_bits(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
#endif
}

#undef QJL_MMA

}  // namespace qjl::cuda
