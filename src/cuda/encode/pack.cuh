// Codes, a byte each as codes [coordinate][16 tokens], into the bytes of a page, as page.hpp says. levels.cuh reads them back.
//
//   keys     a row of 64 bytes holds one byte of 64 slots; the block gathers half a page in shared memory and copies it out
//   values   a line of 64 bytes is 16 words, a channel each: byte i of word l = tokens 4 q + i; codes of a quad q are one word here
#pragma once

#include "group.cuh"

namespace qjl::cuda {

// ---- keys -----------------------------------------------------------------------------------------------------------------
// The codes of frame `frame` into `half`, the staged bytes of its half page: rows [row][64], or words [word][frame mod 4][16].
__device__ inline void stage_keys(const Share& me, const CodeTraits& code, int d, int frame, const std::uint8_t* codes,
                                  std::uint8_t* half) {
  const int frame_in_half = frame % (layout::kFrames / layout::kHalves), rows = layout::key_row_bytes(code, d);
  const int width = code.bits;
  const auto at = [&](int c) -> unsigned { return codes[c * kGroup + me.lane]; };
  const auto put = [&](int row, unsigned byte) {
    half[row * layout::kLineBytes + 4 * me.lane + frame_in_half] = static_cast<std::uint8_t>(byte);
  };
  switch (code.keys) {
    case KeyLayout::none:
    case KeyLayout::slots: return;    // no frames
    case KeyLayout::strings: return;  // of the host
    case KeyLayout::rows: {
      const int count = 8 / width;
      return each_coordinate(me, rows, [&](int row) {
        unsigned bits = 0;
        for (int k = 0; k < count; ++k) bits |= at(row * count + k) << k * width;
        put(row, bits);
      });
    }
    case KeyLayout::triples:
      return each_coordinate(me, rows, [&](int row) {
        const int first = row / 3 * 8, group = row % 3;
        const unsigned fourth = at(first + 6) | at(first + 7) << width;
        put(row, at(first + 2 * group) | at(first + 2 * group + 1) << width | (fourth >> 2 * group & 3) << 6);
      });
    case KeyLayout::words:
      return each_coordinate(me, d / 8, [&](int word) {
        std::uint8_t* out = half + (word * 4 + frame_in_half) * layout::kLineBytes + 4 * me.lane;
        for (int i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(at(8 * word + i) | at(8 * word + 4 + i) << width);
      });
  }
}

// Staged half page `half_idx` to its place.
__device__ inline void store_keys(const CodeTraits& code, int d, int half_idx, const std::uint8_t* half, std::uint8_t* keys) {
  const int rows = layout::key_row_bytes(code, d), vectors = layout::kLineBytes / static_cast<int>(sizeof(uint4));
  const bool words = code.keys == KeyLayout::words;
  for (int i = thread_idx(); i < rows * vectors; i += block_threads()) {
    const int row = i / vectors, byte = i % vectors * static_cast<int>(sizeof(uint4));
    const std::int64_t line =
        words ? layout::key_word_offset(d, half_idx, row / 4, row % 4) : layout::key_row_offset(rows, half_idx, row);
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
__device__ inline std::uint32_t line_of_triple(const std::uint8_t* codes, int blocks, int line, int l) {
  constexpr std::uint32_t kPairs = 0x03030303u;
  const int pair = line / 3, group = line % 3;
  const auto group_bits = [&](int g) { return quads(codes, (2 * pair + g / 2) * kGroup + l, g % 2 * 2, 2, 3); };
  if (2 * pair + 1 >= blocks) return quads(codes, 2 * pair * kGroup + l, group * 2, 2, 4);
  return group_bits(group) | (group_bits(3) >> 2 * group & kPairs) << 6;
}

// Word l of line `line` of a frame; channels = head_dim times the frames of a token.
__device__ inline std::uint32_t value_word(const CodeTraits& code, const std::uint8_t* codes, int channels, int line, int l) {
  const int blocks = channels / kGroup;
  switch (code.values) {
    case ValueLayout::none:
    case ValueLayout::slots: break;    // no frames
    case ValueLayout::strings: break;  // of the host
    case ValueLayout::shared_lines: {
      const std::uint32_t first = quads(codes, 2 * line * kGroup + l, 0, 4, 1);
      return 2 * line + 1 < blocks ? first | quads(codes, (2 * line + 1) * kGroup + l, 0, 4, 1) << 4 : first;
    }
    case ValueLayout::lines: return quads(codes, line * kGroup + l, 0, 4, 2);
    case ValueLayout::triples: return line_of_triple(codes, blocks, line, l);
    case ValueLayout::line_pairs: return quads(codes, line / 2 * kGroup + l, line % 2 * 2, 2, 4);
  }
  return 0;
}

// The codes of a frame to its lines.
__device__ inline void store_values(const Share& me, const CodeTraits& code, int d, const std::uint8_t* codes,
                                    std::uint8_t* lines) {
  const int channels = code.frames * d;
  each_coordinate(me, layout::value_lines_per_frame(code, d), [&](int line) {
    *reinterpret_cast<std::uint32_t*>(lines + line * layout::kLineBytes + 4 * me.lane) =
        value_word(code, codes, channels, line, me.lane);
  });
}

}  // namespace qjl::cuda
