// Where every byte of a page is. No other file knows.
//
// A page holds the keys and values of 128 tokens of one kv head of one layer: a head of 16 bytes, kept in a table of heads, and
// a body of whole 64-byte lines, kept in the pool. Inside a page tokens stand in slots, ordered by value frame:
//
//   slot = 16 * (t mod 8) + t div 8          16 slots of one frame are one vector of 16 lanes
//
// A key code of `rows` bytes a token is stored as rows of 64 bytes: one row holds one byte of the 64 slots of a half of the page
// (half h = frames 4h .. 4h+3); byte b = 4 * lane + frame mod 4, so the row read as 16 little-endian 32-bit words has
// lane = t div 8 and, in byte i of the word, frame 4h + i. Bits are filled from the least significant.
// The measurements behind this order are in docs/decisions/format.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codes.hpp"
#include "qjl/types.hpp"
#include "trellis.hpp"

namespace qjl::layout {

inline constexpr int kFormatVersion = 2;
inline constexpr int kPageTokens = 128;
inline constexpr int kFrames = 8;       // value frames: token t uses frame t mod 8
inline constexpr int kFrameSlots = 16;  // slots of one frame in a page
inline constexpr int kHalves = 2;
inline constexpr int kHalfSlots = 64;
inline constexpr int kLineBytes = 64;
inline constexpr int kMinMaxGroup = 32;                     // channels that share a minimum and a step (Code::minmax)
inline constexpr int kHeadDims[] = {64, 80, 96, 128, 256};  // that a codec can be made for
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kMaxSinks = 16;

// ---- the page mean and RoPE -----------------------------------------------------------------------------------------------
// The mean is taken before RoPE, relative to the middle of the page: a token of the page is predicted between two turned means,
//
//   prediction of token 8 j + f = M_j + f / 8 (M_(j+1) - M_j),   M_n = R(8 n - 64) mean,  n = 0 .. 16
//
// R(p) turns RoPE's pair i by p * frequency[i]. A pair that turns by less than kStillTurn in half a page counts as still (R = 1);
// one that turns by more than kMaxKnotTurn between two knots has no mean: its mean is zero.
inline constexpr int kKnotTokens = kFrames;
inline constexpr int kMeanKnots = kFrameSlots + 1;
inline constexpr int kKnotStride = 32;  // floats a pair in the tables of cosines and sines, zero beyond the last knot
inline constexpr double kStillTurn = 0.02;
inline constexpr double kMaxKnotTurn = 1.5707963267948966;
constexpr int knot_position(int knot) { return kKnotTokens * knot - kPageTokens / 2; }

// What the layout depends on. The sketch numbers are 0 unless key_code is jl. The rows of traits stand here by value, so that a kernel
// reads them as it reads head_dim.
struct PageShape {
  int head_dim;
  Code key_code;
  Code value_code;
  DType row_dtype = DType::f16;  // of the 16-bit numbers of Code::f16: f16 or bf16
  int sketch_rows = 0;           // m
  int outlier_channels = 0;      // n_out
  int outlier_rows = 0;          // m_o
  CodeTraits key = traits(key_code);
  CodeTraits value = traits(value_code);
};

// The 16 bytes before a body. Little-endian.
struct PageHead {
  std::uint8_t format_version;
  std::uint8_t key_code;
  std::uint8_t value_code;
  std::uint8_t num_sinks;  // tokens 0 .. num_sinks-1 of this page are kept exactly elsewhere; their codes are zero
  float mean_scale;        // mean[c] = mean_scale * int8; 0 when the key code has no mean
  float key_scale_max;     // scale = max * 2^((code - 255) / 32), code 0 is 0
  float value_scale_max;
};
static_assert(sizeof(PageHead) == 16);

constexpr int slot_of_token(int token) { return kFrameSlots * (token % kFrames) + token / kFrames; }
constexpr int token_of_slot(int slot) { return kFrames * (slot % kFrameSlots) + slot / kFrameSlots; }
constexpr std::int64_t round_up(std::int64_t bytes, std::int64_t line) { return (bytes + line - 1) / line * line; }

constexpr int minmax_groups(int head_dim) { return (head_dim + kMinMaxGroup - 1) / kMinMaxGroup; }

// Coordinates of a key code: what a projected query has.
constexpr int key_coordinates(const PageShape& shape) {
  return shape.key.book == Book::sketch ? shape.sketch_rows + shape.outlier_rows : shape.head_dim * shape.key.frames;
}

// ---- key rows of rotated codes --------------------------------------------------------------------------------------------
// rows:    1 bit: row r = signs 8r .. 8r+7 (of two frames the first, then the second), bit k = sign 8r+k, 1 means minus.
//          2 bits: row r = coordinates 4r .. 4r+3, two bits each.
// triples: 3 bits: rows 3T .. 3T+2 are a triple of 6-bit groups: low 6 bits of row 3T+r = coordinates 8T+2r (low 3 bits) and
//          8T+2r+1; the top two bits of the three rows, in order, are the fourth group = coordinates 8T+6 and 8T+7.
// words:   4 bits: [half][word w][frame mod 4][lane] 32-bit words; nibble pair i of a word = coordinates 8w+i (low), 8w+4+i (high).
// strings: the token's string in groups of S steps and B bytes (trellis.hpp, key_group): [half][word w][frame mod 4][byte p < B][lane]
//          32-bit words; byte i of a word = byte p of group 4w+i, whose step c is coordinate 4 S w + 4c + i.
constexpr int key_row_bytes(const CodeTraits& code, int head_dim) { return head_dim * code.frames * code.bits / 8; }  // a token

// Rows come in triples [triple][half][3 rows], then the rest [half][row].
constexpr std::int64_t key_row_offset(int num_rows, int half, int row) {
  const int triples = num_rows / 3, rest = num_rows % 3, triple = row / 3;
  const int line =
      triple < triples ? (triple * kHalves + half) * 3 + row % 3 : triples * kHalves * 3 + half * rest + row - triples * 3;
  return std::int64_t{line} * kLineBytes;
}
constexpr std::int64_t key_word_offset(int head_dim, int half, int word, int frame_in_half) {
  return std::int64_t{(half * (head_dim / 8) + word) * 4 + frame_in_half} * kLineBytes;
}

constexpr std::int64_t key_string_offset(const CodeTraits& code, int head_dim, int half, int word, int frame_in_half) {
  const StringGroup group = key_group(code);
  const int words = head_dim / (4 * group.steps);
  return std::int64_t{((half * words + word) * 4 + frame_in_half) * group.bytes} * kLineBytes;
}

// ---- values of rotated codes ----------------------------------------------------------------------------------------------
// Per frame f, per block of 16 channels: 32-bit word = channel, byte i of it = tokens j = 4q + i of the frame (q = 0..3).
// A two-frame code counts as 2 d channels (frame 1 first).
// shared_lines: 1 bit: two blocks share a line: bits 0-3 = q of the first block, bits 4-7 = q of the second.
// lines:        2 bits: one line a block, bits 2q, 2q+1.
// triples:      3 bits: two blocks share three lines, 6-bit groups as in keys: line g (g < 3) low 6 bits, and the top two bits of
//               lines 0, 1, 2 are group 3; groups 0, 1 = first block quads (0,1), (2,3), groups 2, 3 = second block;
//               low 3 bits = the even quad.
// line_pairs:   4 bits: two lines a block, q = 2 * line + nibble.
// strings:      four blocks, a stretch of 64 channels, have 2 k lines: [q][whole byte p] lines, byte i of word l = byte p of token
//               4q+i's group number 16 * (block / 4) + l (trellis.hpp, value_group), whose step c is channel l of the stretch's
//               block c; then, of an odd k, [q / 2] lines of the groups' last nibbles, those of the even quad in the low bits.
// An odd last block of a paired code stands alone: 1 bit as the first of a pair; 3 bits as 4-bit nibbles.
constexpr int string_lines(const CodeTraits& code) { return 2 * code.bits; }  // a stretch
// The line of byte `byte` of quad q, from a stretch's first one.
constexpr int string_line(const CodeTraits& code, int q, int byte) {
  const StringGroup group = value_group(code);
  const int whole = group.bytes - static_cast<int>(group.nibble);
  return byte < whole ? whole * q + byte : 4 * whole + q / 2;
}
constexpr int value_lines_per_frame(const CodeTraits& code, int head_dim) {
  const int blocks = head_dim * code.frames / 16, odd = blocks % 2;
  switch (code.values) {
    case ValueLayout::none:
    case ValueLayout::slots: break;  // no frames
    case ValueLayout::shared_lines: return blocks / 2 + odd;
    case ValueLayout::lines: return blocks;
    case ValueLayout::triples: return blocks / 2 * 3 + odd * 2;
    case ValueLayout::line_pairs: return blocks * 2;
    case ValueLayout::strings: return blocks / 4 * string_lines(code);
  }
  return 0;
}

// Whether a code can be that of keys, of values of this width: strings come in whole words, in whole lines.
constexpr bool fits_keys(const CodeTraits& code, int head_dim) {
  return code.keys != KeyLayout::none && (code.keys != KeyLayout::strings || head_dim % (4 * key_group(code).steps) == 0);
}
constexpr bool fits_values(const CodeTraits& code, int head_dim) {
  return code.values != ValueLayout::none &&
         (code.values != ValueLayout::strings || head_dim % (16 * value_group(code).steps) == 0);
}

// ---- the body -------------------------------------------------------------------------------------------------------------
// Offsets in bytes. A part that a code does not have has size 0.
struct BodyLayout {
  std::int64_t mean;           // int8 [head_dim], before RoPE            rotated key codes
  std::int64_t key_scales;     // u8 [128], slot order                   rotated key codes
  std::int64_t value_scales;   // u8 [128], slot order                   rotated value codes
  std::int64_t outlier_idx;    // u8 [outlier_channels]                  jl
  std::int64_t key_norms;      // f16 [128], slot order, inlier norms    jl
  std::int64_t outlier_norms;  // f16 [128], slot order                  jl with outliers
  std::int64_t value_steps;    // f16 [128][groups of 32 channels], slot order   minmax
  std::int64_t value_minima;   // f16 [128][groups of 32 channels], slot order   minmax
  std::int64_t
      keys;  // rotated: rows or words as above. f16: [slot][head_dim] of row_dtype. jl: [slot][m / 8], then [slot][m_o / 8]
  std::int64_t outlier_keys;  // jl with outliers
  std::int64_t values;  // rotated: [frame][line]. f16: [slot][head_dim]. minmax: [slot][head_dim / 4], channel c = bits 2(c%4)
  std::int64_t bytes;   // whole body, a multiple of 64
};

constexpr BodyLayout body_layout(const PageShape& s) {
  BodyLayout b{};
  const std::int64_t d = s.head_dim, n = kPageTokens;
  const bool rotated_keys = s.key.rotated(), rotated_values = s.value.rotated();
  const bool sketch = s.key.book == Book::sketch, outliers = sketch && s.outlier_channels > 0;
  const bool minmax = s.value.book == Book::minmax;
  std::int64_t end = 0;
  auto place = [&end](std::int64_t bytes) {
    const std::int64_t at = end;
    end += bytes;
    return at;
  };
  b.mean = place(rotated_keys ? round_up(d, kLineBytes) : 0);
  b.key_scales = place(rotated_keys ? n : 0);
  b.value_scales = place(rotated_values ? n : 0);
  b.outlier_idx = place(outliers ? round_up(s.outlier_channels, kLineBytes) : 0);
  b.key_norms = place(sketch ? n * 2 : 0);
  b.outlier_norms = place(outliers ? n * 2 : 0);
  b.value_steps = place(minmax ? n * 2 * minmax_groups(s.head_dim) : 0);
  b.value_minima = place(minmax ? n * 2 * minmax_groups(s.head_dim) : 0);
  b.keys = place(sketch ? n * s.sketch_rows / 8 : n * key_row_bytes(s.key, s.head_dim));
  b.outlier_keys = place(outliers ? n * s.outlier_rows / 8 : 0);
  b.values = place(rotated_values ? std::int64_t{kFrames} * kLineBytes * value_lines_per_frame(s.value, s.head_dim)
                                  : n * d * s.value.bits / 8);
  b.bytes = round_up(end, kLineBytes);
  return b;
}

constexpr std::int64_t page_bytes(const PageShape& shape) {
  return body_layout(shape).bytes + static_cast<std::int64_t>(sizeof(PageHead));
}

}  // namespace qjl::layout
