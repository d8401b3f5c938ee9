// Queries as whole numbers in planes, the b operand of the products with keys.
//
//   bytes  q = step (128 high + low), high and low signed bytes: 15 bits and a sign; column 8 tile + 2 r + plane of a product
//   bits   q = step (sum_b 2^b bit_b - 2^7 bit_7): 7 bits and a sign, for products of bits; column 2 r + b mod 2 of product b / 2
//
// A product takes 32 numbers of a column (256 bits); lane (g, t) needs 8 of them side by side, so positions in memory follow the
// order in which a code's look-ups bring coordinates. Rounding adds step / sqrt(12) a number: step is the row's largest over 16256,
// or over 127.
#pragma once

#include "page.hpp"
#include "thread.cuh"

namespace qjl::cuda {

inline constexpr int kStepCoordinates = 32;      // of a product of bytes
inline constexpr int kBitStepCoordinates = 256;  // of a product of bits
inline constexpr int kBitPairs = 4;              // products that hold the eight bits of a query
inline constexpr int kPlaneRadix = 1 << 7;
inline constexpr float kLargestOfPlanes = 127.0f * kPlaneRadix, kLargestOfBits = 127.0f;
inline constexpr int kTileRows = 4;  // queries of a product: two columns each

// How keys are multiplied. Signs go as bits where the device has such products.
enum class KeyPath { bits, sign_bytes, l8, l16 };

// Steps of 256 signs of a query of up to two frames of kDim.
template <int kDim>
inline constexpr int kBitSteps = (2 * kDim + kBitStepCoordinates - 1) / kBitStepCoordinates;

// Where coordinate c of a query stands in its plane.
template <KeyPath kPath>
QJL_HD constexpr int plane_position(int c) {
  if constexpr (kPath == KeyPath::l16) return c / 8 * 8 + 2 * (c % 4) + c / 4 % 2;
  if constexpr (kPath == KeyPath::sign_bytes) {
    const int step = c / kBitStepCoordinates, part = c % kBitStepCoordinates / (kBitStepCoordinates / 2);
    return kStepCoordinates * (8 * step + c % 8) + 8 * (c / kWarpLanes % 4) + 4 * part + c / 8 % 4;
  }
  return c;
}

// Bytes of a plane: 32 more than the numbers, so that columns fall on different banks.
template <KeyPath kPath, int kDim>
constexpr int plane_stride() {
  const int numbers = kPath == KeyPath::l8 || kPath == KeyPath::l16 ? kDim
                      : 2 * kDim < kBitStepCoordinates              ? kBitStepCoordinates
                                                                    : 2 * kDim;
  return numbers + 32;
}
// Bytes of all planes of a row: two of bytes, or eight of bits.
template <KeyPath kPath, int kDim>
constexpr int row_plane_bytes() {
  return kPath == KeyPath::bits ? plane_stride<kPath, kDim>() - 32 : 2 * plane_stride<kPath, kDim>();
}

// What turns integer sums of a row into scores: score = step * sum, of signs step * (total - 2 * sum over minus signs).
struct RowUnits {
  float step;
  float mean_step;
  int total;
};

template <KeyPath kPath, int kDim>
struct QueryPlanes {
  const std::uint8_t* bytes;

  template <int kTiles>
  __device__ void fragments(int step, std::uint32_t (&b)[kTiles][2]) const {
    const int g = lane_idx() / 4, t = lane_idx() % 4;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const uint2 words =
          *reinterpret_cast<const uint2*>(bytes + (8 * tile + g) * plane_stride<kPath, kDim>() + kStepCoordinates * step + 8 * t);
      b[tile][0] = words.x;
      b[tile][1] = words.y;
    }
  }
  // Bits 2p and 2p + 1: [row][bit][step][t][2 words].
  template <int kTiles>
  __device__ void bit_fragments(int step, int p, std::uint32_t (&b)[kTiles][2]) const {
    const int g = lane_idx() / 4, t = lane_idx() % 4;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int plane = (kTileRows * tile + g / 2) * 2 * kBitPairs + 2 * p + g % 2;
      const uint2 words = reinterpret_cast<const uint2*>(bytes)[(plane * kBitSteps<kDim> + step) * 4 + t];
      b[tile][0] = words.x;
      b[tile][1] = words.y;
    }
  }
};

__device__ inline float largest_of(const float* x, int count) {
  float largest = 0.0f;
  for (int i = lane_idx(); i < count; i += kWarpLanes) largest = fmaxf(largest, fabsf(x[i]));
  return warp_max(largest);
}

// Whole number as two signed bytes: high, low.
struct TwoPlanes {
  int high, low;
};
__device__ inline TwoPlanes split(float number) {
  const int whole = __float2int_rn(number), high = (whole + kPlaneRadix / 2) >> 7;
  return {high, whole - kPlaneRadix * high};
}

// One row by one warp: x [count] in shared memory; bytes: its planes, zero before.
template <KeyPath kPath, int kDim>
__device__ inline void make_planes(const float* x, int count, std::uint8_t* bytes, RowUnits& units) {
  constexpr float kLargest = kPath == KeyPath::bits ? kLargestOfBits : kLargestOfPlanes;
  const float largest = largest_of(x, count), inverse = largest > 0.0f ? kLargest / largest : 0.0f;
  float total = 0.0f;
  for (int first = 0; first < count; first += kWarpLanes) {
    const int c = first + lane_idx();
    const float number = c < count ? x[c] * inverse : 0.0f;
    total += static_cast<float>(__float2int_rn(number));
    if constexpr (kPath == KeyPath::bits) {
      const int whole = __float2int_rn(number), word = first / kWarpLanes, step = word / 8, t = word % 4, part = word / 4 % 2;
      for (int bit = 0; bit < 2 * kBitPairs; ++bit) {
        const unsigned bits = __ballot_sync(kAllLanes, whole >> bit & 1);
        if (lane_idx() == 0) reinterpret_cast<unsigned*>(bytes)[((bit * kBitSteps<kDim> + step) * 4 + t) * 2 + part] = bits;
      }
    } else if (c < count) {
      const TwoPlanes planes = split(number);
      bytes[plane_position<kPath>(c)] = static_cast<std::uint8_t>(planes.high);
      bytes[plane_stride<kPath, kDim>() + plane_position<kPath>(c)] = static_cast<std::uint8_t>(planes.low);
    }
  }
  total = warp_sum(total);  // of whole numbers below 2^24: exact
  if (lane_idx() == 0) {
    units.step = largest / kLargest;
    units.total = static_cast<int>(total);
  }
}

}  // namespace qjl::cuda
