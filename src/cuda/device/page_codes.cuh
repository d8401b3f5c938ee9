// Which bits of a sealed page are a number. page.hpp says where they are; kernels that read whole fragments (key_fragments.cuh,
// value_fragments.cuh) must agree with this file.
#pragma once

#include <cstdint>

#include "page.hpp"

namespace qjl::cuda {

// The fourth 6-bit group of three bytes: their top two bits.
QJL_HD constexpr int fourth_group(int byte0, int byte1, int byte2) { return byte0 >> 6 | byte1 >> 6 << 2 | byte2 >> 6 << 4; }

// A slot of a half page: frame in the half, and token of the frame.
struct SlotPlace {
  int half, frame_in_half, token;
};
QJL_HD constexpr SlotPlace slot_place(int slot) {
  return {slot / layout::kHalfSlots, slot % layout::kHalfSlots / layout::kFrameSlots, slot % layout::kFrameSlots};
}

// Code index of coordinate c of a slot's key, rotated codes; c counts over all frames of a key.
QJL_HD constexpr int key_code_at(const layout::PageShape& shape, const std::uint8_t* keys, int slot, int c) {
  const SlotPlace place = slot_place(slot);
  const int rows = layout::key_row_bytes(shape.key, shape.head_dim), byte = 4 * place.token + place.frame_in_half;
  const auto row = [&](int r) -> int { return keys[layout::key_row_offset(rows, place.half, r) + byte]; };
  switch (shape.key.keys) {
    case KeyLayout::none:
    case KeyLayout::slots: break;    // no frames
    case KeyLayout::strings: break;  // of the host
    case KeyLayout::rows: return shape.key.bits == 2 ? row(c / 4) >> 2 * (c % 4) & 3 : row(c / 8) >> c % 8 & 1;
    case KeyLayout::triples: {
      const int triple = c / 8, group = c % 8 / 2;
      const int pair =
          group < 3 ? row(3 * triple + group) : fourth_group(row(3 * triple), row(3 * triple + 1), row(3 * triple + 2));
      return pair >> 3 * (c % 2) & 7;
    }
    case KeyLayout::words: {
      const std::int64_t word = layout::key_word_offset(shape.head_dim, place.half, c / 8, place.frame_in_half) + 4 * place.token;
      return keys[word + c % 4] >> 4 * (c % 8 / 4) & 15;
    }
  }
  return 0;
}

// Code index of channel c (over all frames of a token) of token j of value frame f.
QJL_HD constexpr int value_code_at(const layout::PageShape& shape, const std::uint8_t* values, int f, int j, int c) {
  const std::uint8_t* lines =
      values + std::int64_t{f} * layout::value_lines_per_frame(shape.value, shape.head_dim) * layout::kLineBytes;
  const int block = c / 16, q = j / 4, byte = 4 * (c % 16) + j % 4;
  const auto line = [&](int l) -> int { return lines[l * layout::kLineBytes + byte]; };
  switch (shape.value.values) {
    case ValueLayout::none:
    case ValueLayout::slots: break;    // no frames
    case ValueLayout::strings: break;  // of the host
    case ValueLayout::shared_lines: return line(block / 2) >> (q + 4 * (block % 2)) & 1;
    case ValueLayout::lines: return line(block) >> 2 * q & 3;
    case ValueLayout::triples: {
      const int pair = block / 2 * 3, group = block % 2 * 2 + q / 2, blocks = shape.head_dim / 16;
      if (block % 2 == 0 && block + 1 == blocks) return line(pair + q / 2) >> 4 * (q % 2) & 7;
      const int bits = group < 3 ? line(pair + group) : fourth_group(line(pair), line(pair + 1), line(pair + 2));
      return bits >> 3 * (q % 2) & 7;
    }
    case ValueLayout::line_pairs: return line(2 * block + q / 2) >> 4 * (q % 2) & 15;
  }
  return 0;
}

}  // namespace qjl::cuda
