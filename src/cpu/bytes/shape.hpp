// Which attends take the byte loops over sealed pages, and the sizes that its parts share.
//
//   few rows (decode): scores by byte look-ups or byte dots, 8-bit softmax weights, values by byte dots    bytes/pass.hpp
//   many rows (prompts): a page is decoded once into an fp32 tile and multiplied                           tile/half_scores.hpp
//
// A target that has no byte loops takes the second way always. Both ways add into the same Accumulators, so an attend may mix them.
#pragma once

#include <cstdint>

#include "page.hpp"

// Whether the target of a pass has byte loops: all but the scalar one.
#define QJL_BYTE_LOOPS (QJL_LANES > 4 || QJL_NEON)

namespace qjl::cpu {

inline constexpr int kBytesRows = 32;  // up to here byte loops beat the tile: docs/decisions/cpu.md
inline constexpr int kGroupRows = 4;   // rows that the inner loops keep in registers together
inline constexpr int kPassPages = 4;   // pages whose weights share a scale, and whose values are summed before fp32
inline constexpr int kPassTokens = kPassPages * layout::kPageTokens;
inline constexpr int kWeightLevels = 255;

// Codes that have loops of their own; the tile serves any other.
constexpr bool has_byte_keys(Code code) {
  return code == Code::s2 || code == Code::l8 || code == Code::l16 || traits(code).keys == KeyLayout::strings;
}
constexpr bool has_byte_values(Code code) {
  return code == Code::l4 || code == Code::l8 || code == Code::l16 || traits(code).values == ValueLayout::strings;
}
// Codes that are scored as levels times whole numbers of the query.
constexpr bool takes_numbers(const CodeTraits& key) { return key.keys == KeyLayout::words || key.keys == KeyLayout::strings; }
constexpr bool has_byte_loops(const layout::PageShape& s) {
  return has_byte_keys(s.key_code) && has_byte_values(s.value_code) && s.head_dim % 64 == 0;
}
constexpr bool can_attend_bytes(const layout::PageShape& s, int rows) { return rows <= kBytesRows && has_byte_loops(s); }

// Bytes of one row's query as the score loops read it: 64-byte tables of 6-bit groups, four per three rows of codes (16-entry
// tables need less), or whole numbers of up to two bytes.
constexpr std::int64_t bytes_of_query(const layout::PageShape& s) {
  if (takes_numbers(s.key)) return layout::round_up(std::int64_t{2} * s.head_dim, layout::kLineBytes);
  return std::int64_t{(layout::key_row_bytes(s.key, s.head_dim) + 2) / 3} * 4 * layout::kLineBytes;
}

}  // namespace qjl::cpu
