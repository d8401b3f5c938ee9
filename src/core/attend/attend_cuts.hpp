// How one attend is cut into pieces of work, from shapes and the number of threads alone, so that equal calls add up numbers in
// equal order.
//
//   block = (request, kv head, query heads of its group, queries): at most kMaxAttendRows rows, each reads its range of pages once
//   piece = (block, page range): cuts on page borders; the pieces of one block merge in order
//
// Without enough blocks to feed the threads the long ones are cut by pages, evenly, and not below some pages a piece. Blocks are those
// of the call, or of the request (AttendCut).
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "qjl/attention.hpp"

namespace qjl {

// One request as the plan sees it. Queries before position 0 see nothing and are left out of the plan.
struct CutRequest {
  std::int64_t num_queries;
  std::int64_t first_position;  // of query 0, may be negative
  int num_kv_heads;
  int group;  // query heads per kv head
  // Positions from here on are not the plan's. A query may then see nothing, and stands in no block.
  std::int64_t end_position = std::numeric_limits<std::int64_t>::max();
};

struct AttendBlock {
  std::int32_t request;
  std::int32_t kv_head;
  std::int32_t first_head, num_heads;  // in the group
  std::int64_t first_query;
  std::int32_t num_queries;
  std::int32_t num_pieces;
  std::int64_t begin, end;  // positions in reach of any of its queries; begin on a page border
  std::int64_t first_piece;
};

struct AttendCuts {
  std::vector<AttendBlock> blocks;
  std::vector<std::int32_t> block_of_piece;  // [pieces]
  std::vector<std::int32_t> pieces_left;     // [blocks] at first all of them: the caller counts them down as they are done
  std::vector<std::int64_t> slot_of_piece;   // [pieces] where a piece of a cut block keeps its result; -1 when it need not
  std::int64_t num_slots = 0;

  // Refills the plan; keeps its memory.
  void make(std::span<const CutRequest> requests, std::int64_t sliding_window, int num_threads,
            AttendCut cut = AttendCut::together);
  std::int64_t bytes() const;

  struct Range {
    std::int64_t begin, end;
  };
  Range range(std::int64_t piece) const;  // positions of a piece

 private:
  void add_pieces(std::size_t first_block, int num_threads);
};

}  // namespace qjl
