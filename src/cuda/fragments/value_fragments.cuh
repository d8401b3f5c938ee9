// Weighted sums of values, one value frame by one warp: the layout of page.hpp as matrix fragments.
//
//   sums[channel][row] += weight planes of the row by levels of the frame's 16 tokens of 8 pages
//
// A word is one channel: its 16 tokens of a page. Lane (g, t) reads pages t and t + 4, four channels a load; product s of four
// takes four tokens of each page, so a word feeds every product. Rows g and g + 8 of a product are channels 64 u + 32 (g / 4) + 4
// (g % 4) + m and 16 more, m = 0 .. 3. Columns are two planes of unsigned bytes of the rows' weights, parts as in planes.cuh.
//
//   l4   four look-ups a word            l8   three lines hold two blocks: 12 byte operations and half a fourth group
//   l16  two lines a block
#pragma once

#include "byte_levels.cuh"
#include "mma.cuh"
#include "page.hpp"
#include "planes.cuh"

namespace qjl::cuda {

inline constexpr int kGroupChannels = 64;  // that a lane's loads cover together with the other lanes'

// Bytes of levels of a channel: [product].
using ChannelLevels = std::uint32_t[4];

// Selector words, by pairs of quads of tokens (q0, q1) = (0, 2), (1, 3) for l4, else (0, 1), (2, 3).
template <Code kCode>
__device__ inline void look_up_pairs(const ByteLevels& table, const std::uint32_t (&selector)[2], ChannelLevels& levels) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    levels[2 * i] = look_up<kCode>(table, selector[i]);
    levels[2 * i + 1] = look_up<kCode>(table, selector[i] >> 16);
  }
}

// Where a lane reads 64 channels of one page: lines of its two blocks.
template <Code kCode>
struct ValueWords {
  static constexpr ValueLayout kLayout = traits(kCode).values;
  static constexpr int kLoads = traits(kCode).bits;
  Words line[kLoads];
  bool alone;  // triples: the block has no partner and stands as nibbles

  // Bytes from the frame's first line to the lane's part of the first group of channels.
  static __device__ int lane_offset() {
    const int g = lane_group();
    return g / 4 * kLoads * layout::kLineBytes + 16 * (g % 4);
  }
  // at: the frame's first line plus lane_offset(). kWhole: head_dim is a multiple of 64, else it has `blocks` blocks of 16.
  template <bool kWhole>
  __device__ void load(const std::uint8_t* at, int u, int blocks) {
    const int pair = 2 * u + lane_group() / 4, last = layout::value_lines_per_frame(traits(kCode), blocks * 16) - 1;
    alone = !kWhole && kLayout == ValueLayout::triples && 2 * pair + 1 == blocks;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {  // beyond the last block any line will do: nobody looks at those channels
      const int line_of_group = 2 * u * kLoads + i, beyond = kWhole ? 0 : pair * kLoads + i - last;
      line[i] = load_words(at + (line_of_group - (beyond > 0 ? beyond : 0)) * layout::kLineBytes);
    }
  }
  // Channel m of the first and of the second block.
  __device__ void decode(const ByteLevels& table, int m, ChannelLevels (&levels)[2]) const {
    if constexpr (kLayout == ValueLayout::lines) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t selector[2] = {line[i].word[m] & 0x33333333u, line[i].word[m] >> 2 & 0x33333333u};
        look_up_pairs<kCode>(table, selector, levels[i]);
      }
    } else if constexpr (kLayout == ValueLayout::triples) {
      const std::uint32_t row[3] = {line[0].word[m], line[1].word[m], line[2].word[m]};
      const std::uint32_t first[2] = {alone ? row[0] & 0x77777777u : group_selector(row[0]),
                                      alone ? row[1] & 0x77777777u : group_selector(row[1])};
      const std::uint32_t second[2] = {group_selector(row[2]), fourth_selector(row[0], row[1], row[2])};
      look_up_pairs<kCode>(table, first, levels[0]);
      look_up_pairs<kCode>(table, second, levels[1]);
    } else {
      static_assert(kLayout == ValueLayout::line_pairs);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        std::uint32_t bytes[2];
        look_up_nibbles(table, line[i].word[m], bytes);
        levels[i / 2][2 * (i % 2)] = bytes[0];
        levels[i / 2][2 * (i % 2) + 1] = bytes[1];
      }
    }
  }
};

// Weights of 16 tokens of a page in the order of the look-ups.
template <Code kCode>
__device__ inline void order_weights(const Words& tokens, std::uint32_t (&b)[4]) {
  const std::uint32_t* w = tokens.word;
  constexpr bool kLines = traits(kCode).values == ValueLayout::lines;
  const std::uint32_t second = kLines ? w[2] : w[1], third = kLines ? w[1] : w[2];
  b[0] = interleave_low(w[0], second);
  b[1] = interleave_high(w[0], second);
  b[2] = interleave_low(third, w[3]);
  b[3] = interleave_high(third, w[3]);
}

// The b operand of a lane: weights of its column, pages t and t + 4, of four products.
using WeightFragment = FragmentB[4];

// Weights of a frame [page][32 bytes]: two planes of 16 tokens, or (several tiles) words of the two planes by turns.
template <Code kCode, int kTiles>
__device__ inline void weight_fragments(const std::uint8_t* frame, WeightFragment (&out)[kTiles]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* page = frame + (lane_part() + 4 * half) * 2 * layout::kFrameSlots;
    Words tokens[kTiles];
    if constexpr (kTiles == 1) {
      tokens[0] = load_shared(page + lane_group() % 2 * layout::kFrameSlots);
    } else {
      const Words first = load_shared(page), second = load_shared(page + layout::kFrameSlots);
      tokens[0] = {{first.word[0], first.word[2], second.word[0], second.word[2]}};
      tokens[1] = {{first.word[1], first.word[3], second.word[1], second.word[3]}};
    }
#pragma unroll
    for (int product = 0; product < kTiles; ++product) {
      std::uint32_t b[4];
      order_weights<kCode>(tokens[product], b);
#pragma unroll
      for (int s = 0; s < 4; ++s) out[product][s][half] = b[s];
    }
  }
}

// Sums of a lane: channels 16 half + m of its rows, in a group of 64 channels.
template <int kTiles>
using GroupSums = float[kTiles][2][4];

// sums += whole sums * base: the planes join before they meet fp32.
template <Code kCode, int kTiles>
__device__ inline void weigh_group(const ByteLevels& table, const ValueWords<kCode> (&words)[2],
                                   const WeightFragment (&weights)[kTiles], const float (&base)[kTiles], GroupSums<kTiles>& sums) {
  __syncwarp();
#pragma unroll
  for (int m = 0; m < 4; ++m) {
    ChannelLevels first[2], second[2];
    words[0].decode(table, m, first);
    words[1].decode(table, m, second);
    Sums whole[kTiles] = {};
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      const FragmentA a = {first[0][s], first[1][s], second[0][s], second[1][s]};
#pragma unroll
      for (int product = 0; product < kTiles; ++product) multiply_unsigned(whole[product], a, weights[product][s]);
    }
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      const int tile = i / 2, half = i % 2;
      const auto part = [&](int plane) { return whole[product_of<kTiles>(plane)][2 * half + lane_column<kTiles>(tile, plane)]; };
      sums[tile][half][m] = fmaf(static_cast<float>((part(0) << 8) + part(1)), base[tile], sums[tile][half][m]);
    }
  }
}

}  // namespace qjl::cuda
