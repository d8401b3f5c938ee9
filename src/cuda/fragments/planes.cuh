// Queries as whole numbers in planes, the b operand of the products with keys.
//
//   bytes  q = step (128 high + low), high and low signed bytes: 15 bits and a sign
//   bits   q = step (sum_b 2^b bit_b - 2^5 bit_5): 5 bits and a sign, for products of bits
//
// A product has eight columns. Up to four rows (a tile): column 2 row + part mod 2 of product part / 2, where a part is a plane of
// bytes or of bits. Up to eight: column row of product part. Either way a lane ends with all parts of its own rows, kTiles t and
// what follows. A product takes 32 numbers of a column (256 bits); lane (g, t) needs 8 of them side by side, so positions in memory
// follow the order in which a code's look-ups bring coordinates. Rounding adds step / sqrt(12) a number: step is the row's largest
// over 16256, or over 31: that is .7 % of the variance that signs of two frames have themselves.
#pragma once

#include "page.hpp"
#include "thread.cuh"

namespace qjl::cuda {

inline constexpr int kStepCoordinates = 32;      // of a product of bytes
inline constexpr int kBitStepCoordinates = 256;  // of a product of bits
inline constexpr int kQueryBits = 6;
inline constexpr int kPlaneRadix = 1 << 7;
inline constexpr float kLargestOfPlanes = 127.0f * kPlaneRadix, kLargestOfBits = (1 << (kQueryBits - 1)) - 1;
inline constexpr int kTileRows = 4;  // rows that share a product with both planes

// How keys are multiplied. Signs go as bits where the device has such products.
enum class KeyPath { bits, sign_bytes, l8, l16 };

// Steps of 256 signs of a query of up to two frames of kDim.
template <int kDim>
inline constexpr int kBitSteps = (2 * kDim + kBitStepCoordinates - 1) / kBitStepCoordinates;

// Where part `part` of a row stands among the columns of products, and where a lane finds it in its sums.
template <int kTiles>
QJL_HD constexpr int product_of(int part) {
  return kTiles == 1 ? part / 2 : part;
}
template <int kTiles>
QJL_HD constexpr int column_of(int row, int part) {
  return kTiles == 1 ? 2 * row + part % 2 : row;
}
template <int kTiles>
QJL_HD constexpr int lane_column(int tile, int part) {
  return kTiles == 1 ? part % 2 : tile;
}
template <int kTiles>
inline constexpr int kBitProducts = product_of<kTiles>(kQueryBits - 1) + 1;
// The row of tile `tile` of lanes 4 g + t.
template <int kTiles>
QJL_HD constexpr int lane_row(int t, int tile) {
  return kTiles * t + tile;
}

// Where coordinate c of a query stands in its plane of bytes.
template <KeyPath kPath>
QJL_HD constexpr int plane_position(int c) {
  if constexpr (kPath == KeyPath::l16) return c / 8 * 8 + 2 * (c % 4) + c / 4 % 2;
  if constexpr (kPath == KeyPath::sign_bytes) {
    const int step = c / kBitStepCoordinates, part = c % kBitStepCoordinates / (kBitStepCoordinates / 2);
    return kStepCoordinates * (8 * step + c % 8) + 8 * (c / kWarpLanes % 4) + 4 * part + c / 8 % 4;
  }
  return c;
}

// Bytes of a column: 32 more than the numbers, so that columns fall on different banks.
template <KeyPath kPath, int kDim>
constexpr int column_bytes() {
  const int numbers = kPath == KeyPath::l8 || kPath == KeyPath::l16 ? kDim : kBitSteps<kDim> * kBitStepCoordinates;
  return numbers + 32;
}
// Words of bits [step][pair of products][lane][product of the pair][2], or columns of bytes [product][column].
template <int kTiles>
inline constexpr int kBitPairs = (kBitProducts<kTiles> + 1) / 2;
template <KeyPath kPath, int kDim, int kTiles>
constexpr int plane_bytes() {
  if constexpr (kPath == KeyPath::bits) return kBitSteps<kDim> * kBitPairs<kTiles> * kWarpLanes * 16;
  return 8 * kTiles * column_bytes<kPath, kDim>();
}

// What turns integer sums of a row into logits: scale * (step * number + offset) + line, all but `scale` in units of log 2 unless
// there is a soft cap. The line is mean_step times whole numbers, plus line_offset.
struct alignas(16) RowUnits {
  float step, offset;
  float mean_step, line_offset;
};

template <KeyPath kPath, int kDim, int kTiles>
struct QueryPlanes {
  const std::uint8_t* bytes;

  __device__ void fragments(int step, std::uint32_t (&b)[kTiles][2]) const {
    const std::uint8_t* at = bytes + lane_group() * column_bytes<kPath, kDim>() + kStepCoordinates * step + 8 * lane_part();
#pragma unroll
    for (int product = 0; product < kTiles; ++product) {
      const uint2 words = *reinterpret_cast<const uint2*>(at + 8 * product * column_bytes<kPath, kDim>());
      b[product][0] = words.x;
      b[product][1] = words.y;
    }
  }
  __device__ void bit_fragments(int step, std::uint32_t (&b)[kBitProducts<kTiles>][2]) const {
    const uint4* at = reinterpret_cast<const uint4*>(bytes) + step * kBitPairs<kTiles> * kWarpLanes + lane_idx();
#pragma unroll
    for (int pair = 0; pair < kBitPairs<kTiles>; ++pair) {
      const uint4 words = at[pair * kWarpLanes];
      b[2 * pair][0] = words.x;
      b[2 * pair][1] = words.y;
      if (2 * pair + 1 == kBitProducts<kTiles>) break;
      b[2 * pair + 1][0] = words.z;
      b[2 * pair + 1][1] = words.w;
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

// 1.5 * 2^23 as a number and as its bits: a whole number below 2^22 that is added to the bits is added to the number.
inline constexpr int kWholeBits = 0x4b400000;
inline constexpr float kWholeNumber = 12582912.0f;

// The sum of a path as a number that RowUnits knows what to do with.
template <KeyPath kPath>
__device__ inline float number_of(int sum) {
  return kPath == KeyPath::bits ? __int_as_float(sum) : static_cast<float>(sum);
}

// One row by one warp: x [count] in shared memory; bytes: all planes, zero before. Sums of signs are over the minus signs, so that
// <q, signs> = step (total - 2 sum).
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void make_planes(const float* x, int count, int row, std::uint8_t* bytes, RowUnits& units) {
  constexpr bool kSigns = kPath == KeyPath::bits || kPath == KeyPath::sign_bytes;
  constexpr float kLargest = kPath == KeyPath::bits ? kLargestOfBits : kLargestOfPlanes;
  const float largest = largest_of(x, count), inverse = largest > 0.0f ? kLargest / largest : 0.0f;
  float total = 0.0f;
  for (int first = 0; first < count; first += kWarpLanes) {
    const int c = first + lane_idx();
    const float number = c < count ? x[c] * inverse : 0.0f;
    total += static_cast<float>(__float2int_rn(number));
    if constexpr (kPath == KeyPath::bits) {
      const int whole = __float2int_rn(number), word = first / kWarpLanes, step = word / 8, t = word % 4, half = word / 4 % 2;
      for (int bit = 0; bit < kQueryBits; ++bit) {
        const unsigned bits = __ballot_sync(kAllLanes, whole >> bit & 1);
        const int product = product_of<kTiles>(bit), lane = 4 * column_of<kTiles>(row, bit) + t;
        const int at = ((step * kBitPairs<kTiles> + product / 2) * kWarpLanes + lane) * 4 + product % 2 * 2 + half;
        if (lane_idx() == 0) reinterpret_cast<unsigned*>(bytes)[at] = bits;
      }
    } else if (c < count) {
      const TwoPlanes planes = split(number);
      const auto column = [&](int part) {
        return bytes + (8 * product_of<kTiles>(part) + column_of<kTiles>(row, part)) * column_bytes<kPath, kDim>();
      };
      column(0)[plane_position<kPath>(c)] = static_cast<std::uint8_t>(planes.high);
      column(1)[plane_position<kPath>(c)] = static_cast<std::uint8_t>(planes.low);
    }
  }
  total = warp_sum(total);  // of whole numbers below 2^24: exact
  if (lane_idx() == 0) {
    const float step = largest / kLargest;
    units.step = kSigns ? -2.0f * step : step;
    units.offset = !kSigns ? 0.0f : kPath == KeyPath::bits ? (total + 2.0f * kWholeNumber) * step : total * step;
  }
}

}  // namespace qjl::cuda
