// Cuts requests into blocks and blocks into pieces.
#include "attend_cuts.hpp"

#include <algorithm>

#include "args.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;
constexpr int kPiecesPerThread = 4;        // evens out pieces of unequal cost
constexpr std::int64_t kPagesPerPass = 4;  // the kernels read so many pages at a time
constexpr std::int64_t kLeastPages = 8;    // below it the fixed cost of a piece (projection, rotation back) shows

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t pages_of(const AttendBlock& block) { return ceil_div(block.end - block.begin, kPage); }

void add_blocks(std::vector<AttendBlock>& blocks, std::int32_t request_idx, const CutRequest& request, std::int64_t window) {
  const int head_parts = static_cast<int>(ceil_div(request.group, kMaxAttendRows));
  const int queries_per_block = std::max(1, kMaxAttendRows / request.group);
  for (int kv_head = 0; kv_head < request.num_kv_heads; ++kv_head) {
    for (int part = 0; part < head_parts; ++part) {
      const int first_head = request.group * part / head_parts, end_head = request.group * (part + 1) / head_parts;
      for (std::int64_t q = std::max<std::int64_t>(0, -request.first_position); q < request.num_queries; q += queries_per_block) {
        const std::int64_t count = std::min<std::int64_t>(queries_per_block, request.num_queries - q);
        const std::int64_t first = request.first_position + q;  // position of the block's first query
        const std::int64_t begin = window > 0 ? std::max<std::int64_t>(0, first - window + 1) / kPage * kPage : 0;
        const std::int64_t end = std::min(first + count, request.end_position);
        if (begin >= end) continue;
        blocks.push_back(
            {request_idx, kv_head, first_head, end_head - first_head, q, static_cast<std::int32_t>(count), 1, begin, end, 0});
      }
    }
  }
}

std::int64_t count_pieces(std::span<const AttendBlock> blocks, std::int64_t longest) {
  std::int64_t count = 0;
  for (const AttendBlock& block : blocks) count += ceil_div(pages_of(block), longest);
  return count;
}

// Pages of the longest piece. Few blocks are cut so that every thread gets as many pieces as the others: three long heads on two
// threads would else be 5 pieces to 4. Longer pieces are tried first: a piece builds its own tables.
std::int64_t longest_piece(std::span<const AttendBlock> blocks, int num_threads) {
  std::int64_t pages = 0;
  for (const AttendBlock& block : blocks) pages += pages_of(block);
  const std::int64_t pieces = std::int64_t{kPiecesPerThread} * num_threads;
  const std::int64_t wanted = num_threads > 1 ? ceil_div(pages, pieces) : pages;
  const std::int64_t longest = std::max(kLeastPages, ceil_div(wanted, kPagesPerPass) * kPagesPerPass);
  if (std::ssize(blocks) >= pieces) return longest;
  for (std::int64_t at = longest; at <= 2 * longest; ++at) {
    if (const std::int64_t count = count_pieces(blocks, at); count >= num_threads && count % num_threads == 0) return at;
  }
  for (std::int64_t at = longest - 1; at >= std::max(kLeastPages, longest / 2); --at) {
    if (count_pieces(blocks, at) % num_threads == 0) return at;
  }
  return longest;
}

}  // namespace

// Of the blocks from first_block on.
void AttendCuts::add_pieces(std::size_t first_block, int num_threads) {
  const std::int64_t longest = longest_piece(std::span(blocks).subspan(first_block), num_threads);
  for (std::size_t b = first_block; b < blocks.size(); ++b) {
    AttendBlock& block = blocks[b];
    block.first_piece = static_cast<std::int64_t>(block_of_piece.size());
    block.num_pieces = static_cast<std::int32_t>(ceil_div(pages_of(block), longest));
    pieces_left.push_back(block.num_pieces);
    for (std::int32_t i = 0; i < block.num_pieces; ++i) {
      block_of_piece.push_back(static_cast<std::int32_t>(b));
      slot_of_piece.push_back(block.num_pieces > 1 ? num_slots++ : -1);
    }
  }
}

void AttendCuts::make(std::span<const CutRequest> requests, std::int64_t sliding_window, int num_threads, AttendCut cut) {
  blocks.clear();
  block_of_piece.clear();
  pieces_left.clear();
  slot_of_piece.clear();
  num_slots = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::size_t first_block = blocks.size();
    add_blocks(blocks, static_cast<std::int32_t>(i), requests[i], sliding_window);
    if (cut == AttendCut::by_request) add_pieces(first_block, num_threads);
  }
  if (cut == AttendCut::together) add_pieces(0, num_threads);
}

AttendCuts::Range AttendCuts::range(std::int64_t piece) const {
  const AttendBlock& block = blocks[static_cast<std::size_t>(block_of_piece[static_cast<std::size_t>(piece)])];
  const std::int64_t pages = pages_of(block), i = piece - block.first_piece;
  const auto cut = [&](std::int64_t at) { return std::min(block.end, block.begin + pages * at / block.num_pieces * kPage); };
  return {cut(i), cut(i + 1)};
}

std::int64_t AttendCuts::bytes() const {
  return static_cast<std::int64_t>(blocks.capacity() * sizeof(AttendBlock) +
                                   (block_of_piece.capacity() + pieces_left.capacity()) * sizeof(std::int32_t) +
                                   slot_of_piece.capacity() * sizeof(std::int64_t));
}

}  // namespace qjl
