// Codes, a byte each as codes [coordinate][16 tokens], into the bytes of a page, as page.hpp says. levels.cuh reads them back.
//
//   keys     a row of 64 bytes holds one byte of 64 slots; the block gathers half a page in shared memory and copies it out
//   values   a line of 64 bytes is 16 words, a channel each: byte i of word l = tokens 4 q + i; codes of a quad q are one word here
#pragma once

#include "group.cuh"

namespace qjl::cuda {

// ---- keys -----------------------------------------------------------------------------------------------------------------
// Byte `row` of this lane's key.
__device__ inline unsigned key_row_byte(Code code, const std::uint8_t* codes, int row, int lane) {
  const auto at = [&](int c) -> unsigned { return codes[c * kGroup + lane]; };
  unsigned bits = 0;
  if (code == Code::l8) {
    const int first = row / 3 * 8, group = row % 3, width = layout::code_bits(Code::l8);
    const unsigned fourth = at(first + 6) | at(first + 7) << width;
    return at(first + 2 * group) | at(first + 2 * group + 1) << width | (fourth >> 2 * group & 3) << 6;
  }
  const int width = code == Code::l4 ? 2 : 1, count = 8 / width;
  for (int k = 0; k < count; ++k) bits |= at(row * count + k) << k * width;
  return bits;
}

// The codes of frame `frame` into `half`, the staged bytes of its half page: rows [row][64], or words [word][frame mod 4][16]
// (l16).
__device__ inline void stage_keys(const Share& me, Code code, int d, int frame, const std::uint8_t* codes, std::uint8_t* half) {
  const int frame_in_half = frame % (layout::kFrames / layout::kHalves);
  if (code != Code::l16) {
    each_coordinate(me, layout::key_row_bytes(code, d), [&](int row) {
      half[row * layout::kLineBytes + 4 * me.lane + frame_in_half] =
          static_cast<std::uint8_t>(key_row_byte(code, codes, row, me.lane));
    });
    return;
  }
  each_coordinate(me, d / 8, [&](int word) {
    std::uint8_t* out = half + (word * 4 + frame_in_half) * layout::kLineBytes + 4 * me.lane;
    for (int i = 0; i < 4; ++i) {
      const unsigned low = codes[(8 * word + i) * kGroup + me.lane], high = codes[(8 * word + 4 + i) * kGroup + me.lane];
      out[i] = static_cast<std::uint8_t>(low | high << 4);
    }
  });
}

// Staged half page `half_idx` to its place.
__device__ inline void store_keys(Code code, int d, int half_idx, const std::uint8_t* half, std::uint8_t* keys) {
  const int rows = layout::key_row_bytes(code, d), vectors = layout::kLineBytes / static_cast<int>(sizeof(uint4));
  for (int i = thread_idx(); i < rows * vectors; i += block_threads()) {
    const int row = i / vectors, byte = i % vectors * static_cast<int>(sizeof(uint4));
    const std::int64_t line =
        code == Code::l16 ? layout::key_word_offset(d, half_idx, row / 4, row % 4) : layout::key_row_offset(rows, half_idx, row);
    *reinterpret_cast<uint4*>(keys + line + byte) = *reinterpret_cast<const uint4*>(half + row * layout::kLineBytes + byte);
  }
}

// ---- values ---------------------------------------------------------------------------------------------------------------
// The quads of one channel: byte i of quad(q) = code of token 4 q + i. `first` to `first + count` of them, `width` bits apart.
__device__ inline std::uint32_t quads(const std::uint8_t* codes, int channel, int first, int count, int width) {
  const auto* quad = reinterpret_cast<const std::uint32_t*>(codes + channel * kGroup);
  std::uint32_t bits = 0;
  for (int q = 0; q < count; ++q) bits |= quad[first + q] << q * width;
  return bits;
}

// Word l of line `line` of a frame of 3-bit codes: two blocks share three lines, an odd last block has two of nibbles.
__device__ inline std::uint32_t line_of_threes(const std::uint8_t* codes, int blocks, int line, int l) {
  constexpr std::uint32_t kPairs = 0x03030303u;
  const int width = layout::code_bits(Code::l8), pair = line / 3, group = line % 3;
  const auto group_bits = [&](int g) { return quads(codes, (2 * pair + g / 2) * kGroup + l, g % 2 * 2, 2, width); };
  if (2 * pair + 1 >= blocks) return quads(codes, 2 * pair * kGroup + l, group * 2, 2, 4);
  return group_bits(group) | (group_bits(3) >> 2 * group & kPairs) << 6;
}

// Word l of line `line` of a frame; channels = head_dim times the frames of a token.
__device__ inline std::uint32_t value_word(int bits, const std::uint8_t* codes, int channels, int line, int l) {
  const int blocks = channels / kGroup;
  switch (bits) {
    case 1: {
      const std::uint32_t first = quads(codes, 2 * line * kGroup + l, 0, 4, 1);
      return 2 * line + 1 < blocks ? first | quads(codes, (2 * line + 1) * kGroup + l, 0, 4, 1) << 4 : first;
    }
    case 2: return quads(codes, line * kGroup + l, 0, 4, 2);
    case 3: return line_of_threes(codes, blocks, line, l);
    default: return quads(codes, line / 2 * kGroup + l, line % 2 * 2, 2, 4);
  }
}

// The codes of a frame to its lines.
__device__ inline void store_values(const Share& me, Code code, int d, const std::uint8_t* codes, std::uint8_t* lines) {
  const int parts = layout::frames_per_token(code), bits = layout::code_bits(code) / parts;
  each_coordinate(me, layout::value_lines_per_frame(code, d), [&](int line) {
    *reinterpret_cast<std::uint32_t*>(lines + line * layout::kLineBytes + 4 * me.lane) =
        value_word(bits, codes, parts * d, line, me.lane);
  });
}

}  // namespace qjl::cuda
