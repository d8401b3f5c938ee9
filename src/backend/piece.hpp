// Which tokens and pages the rows of a piece see: whole numbers, the same on every device.
//
//   row r of the piece = query * num_heads_in_group + head, as AttendPiece says
//   a row whose query stands at position p sees p - sliding_window + 1 .. p, and of these what lies in the piece's range
#pragma once

#include <cstdint>

#include "args.hpp"
#include "hd.hpp"
#include "page.hpp"

namespace qjl {

QJL_HD constexpr std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
QJL_HD constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Rows [first_row, first_row + rows) of a piece, counted from 0.
struct PieceRows {
  const AttendArgs& args;
  const AttendPiece& piece;
  int first_row, rows;

  QJL_HD int head_in_group(int row) const { return (first_row + row) % piece.num_heads_in_group; }
  QJL_HD std::int64_t query(int row) const { return piece.first_query + (first_row + row) / piece.num_heads_in_group; }
  QJL_HD std::int64_t position(int row) const { return args.first_query_position + query(row); }
};

// Positions [first, end) that some of the rows sees.
struct Range {
  std::int64_t first, end;
};
QJL_HD inline Range visible(const PieceRows& p) {
  const std::int64_t window = p.args.sliding_window;
  const std::int64_t first = window > 0 ? p.position(0) - window + 1 : 0;
  return {larger(first, p.piece.first_position), smaller(p.position(p.rows - 1) + 1, p.piece.end_position)};
}

// Tokens first .. last of a block of `count` tokens at position `base` that a row sees; the first `begin` never count.
struct Window {
  int first, last;
  QJL_HD bool hides_some(int count) const { return first > 0 || last + 1 < count; }
};
QJL_HD inline Window row_window(const PieceRows& p, int row, std::int64_t base, int begin, int count) {
  const std::int64_t position = p.position(row), window = p.args.sliding_window;
  std::int64_t first = larger(begin, p.piece.first_position - base);
  const std::int64_t last = smaller(count - 1, smaller(p.piece.end_position - 1, position) - base);
  if (window > 0) first = larger(first, position - window + 1 - base);
  return {static_cast<int>(smaller(first, count)), static_cast<int>(larger(last, -1))};
}

// Sealed pages [first, end) that some row sees, and those of them, [whole_first, whole_end), of which every row sees every token.
struct PageRange {
  int first, end;
  int whole_first, whole_end;
};
QJL_HD inline PageRange visible_pages(const PieceRows& p) {
  constexpr std::int64_t kPage = layout::kPageTokens;
  const Range range = visible(p);
  if (range.end <= range.first) return {0, 0, 0, 0};
  const std::int64_t end = smaller(p.args.pages.count, (range.end + kPage - 1) / kPage), window = p.args.sliding_window;
  const std::int64_t seen_first = window > 0 ? larger(p.position(p.rows - 1) - window + 1, 0) : 0;
  const std::int64_t whole_first = (larger(seen_first, p.piece.first_position) + kPage - 1) / kPage;
  const std::int64_t whole_end = smaller(p.position(0) + 1, p.piece.end_position) / kPage;
  return {static_cast<int>(range.first / kPage), static_cast<int>(end), static_cast<int>(whole_first), static_cast<int>(whole_end)};
}

// A page as the piece's kv head has it.
QJL_HD inline const std::uint8_t* body_at(const PieceRows& p, std::int64_t page) {
  const SealedPages& pages = p.args.pages;
  return pages.bodies + p.piece.kv_head * pages.body_head_stride + pages.page_table[page] * pages.body_page_stride;
}
QJL_HD inline const layout::PageHead& head_at(const PieceRows& p, std::int64_t page) {
  const SealedPages& pages = p.args.pages;
  return pages.heads[p.piece.kv_head * pages.head_head_stride + pages.page_table[page] * pages.head_page_stride];
}

// First element of the query of a row in the caller's tensor.
QJL_HD inline std::int64_t query_at(const PieceRows& p, int row) {
  const AttendArgs& a = p.args;
  const std::int64_t first_head =
      std::int64_t{p.piece.kv_head} * (a.num_query_heads / a.num_kv_heads) + p.piece.first_head_in_group;
  return (first_head + p.head_in_group(row)) * a.query_head_stride + p.query(row) * a.query_token_stride;
}

}  // namespace qjl
