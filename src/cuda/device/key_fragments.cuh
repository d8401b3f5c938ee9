// Integer scores of one page by one warp, straight from the page's bytes: the layout of page.hpp as matrix fragments.
//
//   sum[tile][4 w + i] = <query planes of row 4 tile + t, levels of the key in slot 64 h + 16 i + 4 q + w>,   lane = 4 (4 h + q) +
//   t
//
// A 16-byte load of a row (half h, bytes 16 q ..) holds the codes of 16 keys: word w, byte i. Lane group g = 4 h + q keeps these 16
// keys as rows g and g + 8 of eight products (w, i / 2); its four lanes share the coordinates. Columns of b are two planes of four
// queries (planes.cuh), so a lane ends with whole scores of its own query t.
//
//   l8    a triple of rows is the eight coordinates of a lane's K: three loads, 33 byte operations for 32 numbers
//   l16   a word is eight coordinates of one key: four loads
//   signs four rows are 32 coordinates of 4 keys after an 4 x 4 byte transposition: products of bits, or bytes 0 and 1
#pragma once

#include "byte_levels.cuh"
#include "mma.cuh"
#include "planes.cuh"

namespace qjl::cuda {

// Where the lane reads: 16 bytes of row r of its half at keys + offset(r).
struct KeyLane {
  const ByteLevels& levels;
  const std::uint8_t* keys;
  int half, quarter, t;
};
__device__ inline KeyLane key_lane(const ByteLevels& levels, const std::uint8_t* keys) {
  const int g = lane_idx() / 4;
  return {levels, keys, g / 4, g % 4, lane_idx() % 4};
}

// sum += products of 32 coordinates: a[w][i] = {word of coordinates 4t .., word of 16 + 4t ..} of key (w, i).
template <int kTiles>
__device__ inline void multiply_keys(const std::uint32_t (&a)[4][2], const FragmentB (&b)[kTiles], Sums (&sums)[kTiles][2]) {
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    const FragmentA fragment = {a[2 * pair][0], a[2 * pair + 1][0], a[2 * pair][1], a[2 * pair + 1][1]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) multiply_signed(sums[tile][pair], fragment, b[tile]);
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

template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void score_l8(const KeyLane& lane, const QueryPlanes<kPath, kDim>& planes, int d, Sums (&sums)[4][kTiles][2]) {
#pragma unroll 1
  for (int step = 0; step < (d + kStepCoordinates - 1) / kStepCoordinates; ++step) {
    const std::uint8_t* at =
        lane.keys + ((4 * step + lane.t) * layout::kHalves + lane.half) * 3 * layout::kLineBytes + 16 * lane.quarter;
    const Words row0 = load_words(at), row1 = load_words(at + layout::kLineBytes), row2 = load_words(at + 2 * layout::kLineBytes);
    FragmentB b[kTiles];
    planes.fragments(step, b);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      std::uint32_t a[4][2];
      l8_keys(lane.levels, row0.word[w], row1.word[w], row2.word[w], a);
      multiply_keys<kTiles>(a, b, sums[w]);
    }
  }
}

template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void score_l16(const KeyLane& lane, const QueryPlanes<kPath, kDim>& planes, int d, Sums (&sums)[4][kTiles][2]) {
#pragma unroll 1
  for (int step = 0; step < (d + kStepCoordinates - 1) / kStepCoordinates; ++step) {
    const std::uint8_t* at = lane.keys + ((lane.half * (d / 8) + 4 * step + lane.t) * 4) * layout::kLineBytes + 16 * lane.quarter;
    Words word[4];  // by frame
#pragma unroll
    for (int i = 0; i < 4; ++i) word[i] = load_words(at + i * layout::kLineBytes);
    FragmentB b[kTiles];
    planes.fragments(step, b);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      std::uint32_t a[4][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) look_up_nibbles(lane.levels, word[i].word[w], a[i]);
      multiply_keys<kTiles>(a, b, sums[w]);
    }
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
  for (int part = 0; part < 2; ++part) {
    const std::uint32_t rows[4] = {row[4 * part].word[w], row[4 * part + 1].word[w], row[4 * part + 2].word[w],
                                   row[4 * part + 3].word[w]};
    std::uint32_t key[4];
    transpose_bytes(rows, key);
#pragma unroll
    for (int i = 0; i < 4; ++i) bits[i][part] = key[i];
  }
}

// sum = 4 sum + popcount of an even bit of q + odd popcount of the odd one, for the lane's 16 keys: columns 2t and 2t + 1 of a
// product.
template <int kTiles>
__device__ inline void multiply_bit_pair(const std::uint32_t (&bits)[4][4][2], const FragmentB (&b)[kTiles], int odd,
                                         int (&sum)[4][kTiles][4]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const auto& key = bits[i / 2];
    const int pair = i % 2;
    const FragmentA a = {key[2 * pair][0], key[2 * pair + 1][0], key[2 * pair][1], key[2 * pair + 1][1]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      Sums d = {0, 0, 0, 0};
      multiply_bits(d, a, b[tile]);
      int(&of_keys)[4] = sum[i / 2][tile];
      of_keys[2 * pair] = 4 * of_keys[2 * pair] + d[0] + odd * d[1];
      of_keys[2 * pair + 1] = 4 * of_keys[2 * pair + 1] + d[2] + odd * d[3];
    }
  }
}

// The eight rows of signs of a step.
__device__ inline void load_sign_rows(const KeyLane& lane, const int* row_offset, int step, Words (&row)[8]) {
  const std::uint8_t* keys = lane.keys + 16 * lane.quarter;
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const Words offset = load_shared(row_offset + kBitStepCoordinates / 8 * step + 16 * part + 4 * lane.t);
#pragma unroll
    for (int r = 0; r < 4; ++r) row[4 * part + r] = load_words(keys + offset.word[r]);
  }
}

// minus[w][tile][i] = sum over minus signs of q: as bits, two planes at a time from the highest, which counts negative.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void score_bits(const KeyLane& lane, const QueryPlanes<kPath, kDim>& planes, const int* row_offset,
                                  int (&minus)[4][kTiles][4]) {
#pragma unroll 1
  for (int step = 0; step < kBitSteps<kDim>; ++step) {
    Words row[8];
    load_sign_rows(lane, row_offset, step, row);
    std::uint32_t bits[4][4][2];
#pragma unroll
    for (int w = 0; w < 4; ++w) sign_keys(row, w, bits[w]);
    int sum[4][kTiles][4] = {};
#pragma unroll 1
    for (int p = kBitPairs - 1; p >= 0; --p) {
      FragmentB b[kTiles];
      planes.bit_fragments(step, p, b);
      multiply_bit_pair<kTiles>(bits, b, p + 1 == kBitPairs ? -2 : 2, sum);
    }
#pragma unroll
    for (int i = 0; i < 16 * kTiles; ++i)
      minus[i / 4 / kTiles][i / 4 % kTiles][i % 4] += sum[i / 4 / kTiles][i / 4 % kTiles][i % 4];
  }
}

// The same with bytes 0 and 1, for devices without products of bits: bit k of every byte is one product.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void score_sign_bytes(const KeyLane& lane, const QueryPlanes<kPath, kDim>& planes, const int* row_offset,
                                        Sums (&sums)[4][kTiles][2]) {
#pragma unroll 1
  for (int step = 0; step < kBitSteps<kDim>; ++step) {
    Words row[8];
    load_sign_rows(lane, row_offset, step, row);
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
}

}  // namespace qjl::cuda
