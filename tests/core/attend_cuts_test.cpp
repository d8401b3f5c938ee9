// The cuts of an attend cover every (head, query, visible position) exactly once, whatever the shapes and the threads.
#include "attend_cuts.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "args.hpp"

namespace qjl::test {
namespace {

using Row = std::tuple<int, int, int, std::int64_t>;  // request, kv head, head in group, query

void check(const std::vector<CutRequest>& requests, std::int64_t window, int threads) {
  AttendCuts cuts;
  cuts.make(requests, window, threads);
  std::map<Row, std::vector<AttendCuts::Range>> ranges;
  for (std::size_t piece = 0; piece < cuts.block_of_piece.size(); ++piece) {
    const AttendBlock& block = cuts.blocks[static_cast<std::size_t>(cuts.block_of_piece[piece])];
    const AttendCuts::Range range = cuts.range(static_cast<std::int64_t>(piece));
    ASSERT_LT(range.begin, range.end);
    ASSERT_EQ(range.begin % layout::kPageTokens, 0);
    ASSERT_TRUE(range.end % layout::kPageTokens == 0 || range.end == block.end);
    ASSERT_LE(block.num_queries * block.num_heads, kMaxAttendRows);
    ASSERT_EQ(cuts.slot_of_piece[piece] >= 0, block.num_pieces > 1);
    for (int head = 0; head < block.num_heads; ++head) {
      for (std::int64_t q = 0; q < block.num_queries; ++q) {
        ranges[{block.request, block.kv_head, block.first_head + head, block.first_query + q}].push_back(range);
      }
    }
  }
  std::size_t rows = 0;
  for (std::size_t r = 0; r < requests.size(); ++r) {
    const CutRequest& request = requests[r];
    for (int kv_head = 0; kv_head < request.num_kv_heads; ++kv_head) {
      for (int head = 0; head < request.group; ++head) {
        for (std::int64_t q = std::max<std::int64_t>(0, -request.first_position); q < request.num_queries; ++q, ++rows) {
          const auto found = ranges.find({static_cast<int>(r), kv_head, head, q});
          ASSERT_NE(found, ranges.end()) << "request " << r << " head " << head << " query " << q << " is in no piece";
          const std::int64_t position = request.first_position + q,
                             first = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
          ASSERT_LE(found->second.front().begin, first);
          ASSERT_GT(found->second.back().end, position);
          for (std::size_t i = 1; i < found->second.size(); ++i) ASSERT_EQ(found->second[i].begin, found->second[i - 1].end);
        }
      }
    }
  }
  EXPECT_EQ(rows, ranges.size()) << "a piece holds rows of no query";
}

TEST(Plan, CoversEverythingOnce) {
  for (const int group : {1, 3, 32, 33, 100}) {
    for (const std::int64_t queries : {0, 1, 33, 200}) {
      for (const std::int64_t position : {-3, 0, 127, 5000}) {
        for (const std::int64_t window : {0, 1, 700}) {
          for (const int threads : {1, 7}) {
            check({{queries, position, 2, group}, {1, 20000, 1, group}}, window, threads);
            if (HasFatalFailure()) FAIL() << group << ' ' << queries << ' ' << position << ' ' << window << ' ' << threads;
          }
        }
      }
    }
  }
}

TEST(Plan, OneThreadReadsEachPageOnceAndManyShareALongOne) {
  AttendCuts cuts;
  const std::vector<CutRequest> one{{1, 100000, 1, 4}};
  cuts.make(one, 0, 1);
  EXPECT_EQ(cuts.block_of_piece.size(), 1u);
  cuts.make(one, 0, 2);
  EXPECT_GE(cuts.block_of_piece.size(), 7u);
  EXPECT_EQ(cuts.pieces_left.front(), std::ssize(cuts.block_of_piece));
}

TEST(Plan, ThreadsGetEquallyManyPieces) {
  AttendCuts cuts;
  for (const int threads : {2, 4}) {
    for (const std::int64_t position : {61 * 128 + 39, 250 * 128}) {  // 5 pieces to 4 without care
      cuts.make(std::vector<CutRequest>{{1, position, 3, 3}}, 0, threads);
      EXPECT_GT(cuts.block_of_piece.size(), 3u);
      EXPECT_EQ(cuts.block_of_piece.size() % static_cast<std::size_t>(threads), 0u) << threads << " threads, " << position;
    }
  }
  cuts.make(std::vector<CutRequest>{{1, 20 * 128, 3, 3}}, 0, 2);
  EXPECT_EQ(cuts.block_of_piece.size(), 6u) << "three pieces a head would be too small to even out";
}

}  // namespace
}  // namespace qjl::test
