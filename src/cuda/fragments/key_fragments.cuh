// Integer scores of one page by one warp, straight from the page's bytes: the layout of page.hpp as matrix fragments.
//
//   sum[tile][w][i] = <query of row kTiles t + tile, levels of the key in slot 64 h + 16 i + 4 q + w>,   lane = 4 (4 h + q) + t
//
// A 16-byte load of a row (half h, bytes 16 q ..) holds the codes of 16 keys: word w, byte i. Lane group g = 4 h + q keeps these 16
// keys as rows g and g + 8 of eight products (w, i / 2); its four lanes share the coordinates. Columns of b are planes of queries
// (planes.cuh), so a lane ends with whole scores of its own rows.
//
//   l8    a triple of rows is the eight coordinates of a lane's K: three loads, 33 byte operations for 32 numbers
//   l16   a word is eight coordinates of one key: four loads
//   signs four rows are 32 coordinates of 4 keys after an 4 x 4 byte transposition: products of bits, or bytes 0 and 1
#pragma once

#include "byte_levels.cuh"
#include "mma.cuh"
#include "planes.cuh"

namespace qjl::cuda {

// sum[tile][word][byte] of the lane's keys.
template <int kTiles>
using KeySums = int[kTiles][4][4];

// ---- products of bytes ----------------------------------------------------------------------------------------------------
// Sums of word w, keys 2 pair and 2 pair + 1: [pair][product].
template <int kTiles>
using ByteSums = Sums[2][kTiles];

// sum += products of 32 coordinates: a[i] = {word of coordinates 4t .., word of 16 + 4t ..} of key (w, i).
template <int kTiles>
__device__ inline void multiply_keys(const std::uint32_t (&a)[4][2], const FragmentB (&b)[kTiles], ByteSums<kTiles>& sums) {
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    const FragmentA fragment = {a[2 * pair][0], a[2 * pair + 1][0], a[2 * pair][1], a[2 * pair + 1][1]};
#pragma unroll
    for (int product = 0; product < kTiles; ++product) multiply_signed(sums[pair][product], fragment, b[product]);
  }
}

// Planes of bytes to whole numbers.
template <int kTiles>
__device__ inline void join_planes(const ByteSums<kTiles> (&sums)[4], KeySums<kTiles>& sum) {
#pragma unroll
  for (int i = 0; i < 16 * kTiles; ++i) {
    const int tile = i / 16, w = i / 4 % 4, pair = i % 4 / 2, key = i % 2;
    const auto part = [&](int plane) {
      return sums[w][pair][product_of<kTiles>(plane)][2 * key + lane_column<kTiles>(tile, plane)];
    };
    sum[tile][w][i % 4] = kPlaneRadix * part(0) + part(1);
  }
}

// Levels of the lane's keys of word w: rows of a triple.
__device__ inline void l8_keys(const ByteLevels& levels, std::uint32_t row0, std::uint32_t row1, std::uint32_t row2,
                               std::uint32_t (&a)[4][2]) {
  const std::uint32_t s[4] = {group_selector(row0), group_selector(row1), group_selector(row2), fourth_selector(row0, row1, row2)};
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const std::uint32_t low = interleave_low(s[2 * part], s[2 * part + 1]), high = interleave_high(s[2 * part], s[2 * part + 1]);
    a[0][part] = look_up<Code::l8>(levels, low);
    a[1][part] = look_up<Code::l8>(levels, low >> 16);
    a[2][part] = look_up<Code::l8>(levels, high);
    a[3][part] = look_up<Code::l8>(levels, high >> 16);
  }
}

// keys: of the page. Triples 4 step + t of the lane's half and quarter.
template <int kDim, int kTiles>
__device__ inline void score_l8(const ByteLevels& levels, const std::uint8_t* keys,
                                const QueryPlanes<KeyPath::l8, kDim, kTiles>& planes, KeySums<kTiles>& sum) {
  constexpr int kTriple = 3 * layout::kLineBytes;
  const int g = lane_group(), t = lane_part();
  const std::uint8_t* at = keys + (t * layout::kHalves + g / 4) * kTriple + 16 * (g % 4);
  ByteSums<kTiles> sums[4] = {};
#pragma unroll 1
  for (int step = 0; step < kDim / kStepCoordinates; ++step) {
    const Words row0 = load_words(at), row1 = load_words(at + layout::kLineBytes), row2 = load_words(at + 2 * layout::kLineBytes);
    at += 4 * layout::kHalves * kTriple;
    FragmentB b[kTiles];
    planes.fragments(step, b);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      std::uint32_t a[4][2];
      l8_keys(levels, row0.word[w], row1.word[w], row2.word[w], a);
      multiply_keys<kTiles>(a, b, sums[w]);
    }
  }
  join_planes<kTiles>(sums, sum);
}

// d: head_dim, which the layout of words depends on.
template <int kDim, int kTiles>
__device__ inline void score_l16(const ByteLevels& levels, const std::uint8_t* keys,
                                 const QueryPlanes<KeyPath::l16, kDim, kTiles>& planes, int d, KeySums<kTiles>& sum) {
  const int g = lane_group(), t = lane_part();
  const std::uint8_t* at = keys + ((g / 4 * (d / 8) + t) * 4) * layout::kLineBytes + 16 * (g % 4);
  ByteSums<kTiles> sums[4] = {};
#pragma unroll 1
  for (int step = 0; step < kDim / kStepCoordinates; ++step) {
    Words word[4];  // by frame
#pragma unroll
    for (int i = 0; i < 4; ++i) word[i] = load_words(at + i * layout::kLineBytes);
    at += 4 * 4 * layout::kLineBytes;
    FragmentB b[kTiles];
    planes.fragments(step, b);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      std::uint32_t a[4][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) look_up_nibbles(levels, word[i].word[w], a[i]);
      multiply_keys<kTiles>(a, b, sums[w]);
    }
  }
  join_planes<kTiles>(sums, sum);
}

// ---- signs ----------------------------------------------------------------------------------------------------------------
// Where a lane's eight rows of a step lie in a page's body, in units of 16 bytes: [step][half of K][lane], four rows each.
template <int kDim>
using RowOffsets = uint4[kBitSteps<kDim>][2][kWarpLanes];

// keys: where they begin in a body. Rows beyond the last one are the last one: queries have no bits there.
template <int kDim>
__device__ inline void make_row_offsets(std::int64_t keys, int rows, RowOffsets<kDim>& offsets) {
  for (int i = thread_idx(); i < kBitSteps<kDim> * 2 * kWarpLanes; i += block_threads()) {
    const int lane = i % kWarpLanes, g = lane / 4, first = 16 * (i / kWarpLanes) + 4 * (lane % 4);
    const auto unit = [&](int row) {
      const std::int64_t at = keys + layout::key_row_offset(rows, g / 4, row < rows ? row : rows - 1) + 16 * (g % 4);
      return static_cast<unsigned>(at / 16);
    };
    offsets[i / (2 * kWarpLanes)][i / kWarpLanes % 2][lane] = {unit(first), unit(first + 1), unit(first + 2), unit(first + 3)};
  }
}

// The eight rows of signs of a step.
__device__ inline void load_sign_rows(const std::uint8_t* body, const uint4 (&offsets)[2][kWarpLanes], Words (&row)[8]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Words offset = load_shared(&offsets[half][lane_idx()]);
#pragma unroll
    for (int r = 0; r < 4; ++r) row[4 * half + r] = load_words(reinterpret_cast<const uint4*>(body) + offset.word[r]);
  }
}

// Byte i of four rows: the 32 signs of key i.
__device__ inline void transpose_bytes(const std::uint32_t (&row)[4], std::uint32_t (&key)[4]) {
  const std::uint32_t low01 = interleave_low(row[0], row[1]), low23 = interleave_low(row[2], row[3]);
  const std::uint32_t high01 = interleave_high(row[0], row[1]), high23 = interleave_high(row[2], row[3]);
  key[0] = permute_bytes(low01, low23, 0x5410);
  key[1] = permute_bytes(low01, low23, 0x7632);
  key[2] = permute_bytes(high01, high23, 0x5410);
  key[3] = permute_bytes(high01, high23, 0x7632);
}

// bits[i] = the signs of key (w, i): 32 from coordinate 256 step + 32 t, 32 from 128 further.
__device__ inline void sign_keys(const Words (&row)[8], int w, std::uint32_t (&bits)[4][2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t rows[4] = {row[4 * half].word[w], row[4 * half + 1].word[w], row[4 * half + 2].word[w],
                                   row[4 * half + 3].word[w]};
    std::uint32_t key[4];
    transpose_bytes(rows, key);
#pragma unroll
    for (int i = 0; i < 4; ++i) bits[i][half] = key[i];
  }
}

// Sums over the minus signs of q from those of its bits, of which the highest counts negative.
template <int kTiles>
__device__ inline int join_bits(const Sums (&sums)[kBitProducts<kTiles>], int tile, int key) {
  const auto part = [&](int bit) { return sums[product_of<kTiles>(bit)][2 * key + lane_column<kTiles>(tile, bit)]; };
  int sum = part(kQueryBits - 2) - 2 * part(kQueryBits - 1);
#pragma unroll
  for (int bit = kQueryBits - 3; bit >= 0; --bit) sum = 2 * sum + part(bit);
  return sum;
}

// The bits of a number: kWholeBits plus the sum over minus signs. The product of the highest bits begins with what becomes
// kWholeBits where its columns join.
template <int kDim, int kTiles>
__device__ inline void score_bits(const std::uint8_t* body, const RowOffsets<kDim>& offsets,
                                  const QueryPlanes<KeyPath::bits, kDim, kTiles>& planes, KeySums<kTiles>& sum) {
  constexpr int kHighest = product_of<kTiles>(kQueryBits - 1), kShared = product_of<kTiles>(kQueryBits - 2) == kHighest ? 2 : 1;
  constexpr int kBegin = -(kWholeBits >> (kQueryBits - kShared));  // 2^(b - 1) of a shared product is -2^b + 2^(b - 1)
  const Sums zero = {0, 0, 0, 0}, begin = {kBegin, kBegin, kBegin, kBegin};
#pragma unroll
  for (int step = 0; step < kBitSteps<kDim>; ++step) {
    Words row[8];
    load_sign_rows(body, offsets[step], row);
    FragmentB b[kBitProducts<kTiles>];
    planes.bit_fragments(step, b);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      std::uint32_t bits[4][2];
      sign_keys(row, w, bits);
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const FragmentA a = {bits[2 * pair][0], bits[2 * pair + 1][0], bits[2 * pair][1], bits[2 * pair + 1][1]};
        Sums sums[kBitProducts<kTiles>];
#pragma unroll
        for (int p = 0; p < kBitProducts<kTiles>; ++p) multiply_bits(sums[p], a, b[p], p == kHighest && step == 0 ? begin : zero);
#pragma unroll
        for (int i = 0; i < 2 * kTiles; ++i) {
          const int number = join_bits<kTiles>(sums, i / 2, i % 2);
          int& of_key = sum[i / 2][w][2 * pair + i % 2];
          of_key = step == 0 ? number : of_key + number;
        }
      }
    }
  }
}

// The same with bytes 0 and 1, for devices without products of bits: bit k of every byte is one product.
template <int kDim, int kTiles>
__device__ inline void score_sign_bytes(const std::uint8_t* body, const RowOffsets<kDim>& offsets,
                                        const QueryPlanes<KeyPath::sign_bytes, kDim, kTiles>& planes, KeySums<kTiles>& sum) {
  ByteSums<kTiles> sums[4] = {};
#pragma unroll 1
  for (int step = 0; step < kBitSteps<kDim>; ++step) {
    Words row[8];
    load_sign_rows(body, offsets[step], row);
    std::uint32_t bits[4][4][2];
#pragma unroll
    for (int w = 0; w < 4; ++w) sign_keys(row, w, bits[w]);
#pragma unroll 1
    for (int k = 0; k < 8; ++k) {
      FragmentB b[kTiles];
      planes.fragments(8 * step + k, b);
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        std::uint32_t a[4][2];
#pragma unroll
        for (int i = 0; i < 8; ++i) a[i / 2][i % 2] = bits[w][i / 2][i % 2] >> k & 0x01010101u;
        multiply_keys<kTiles>(a, b, sums[w]);
      }
    }
  }
  join_planes<kTiles>(sums, sum);
}

}  // namespace qjl::cuda
