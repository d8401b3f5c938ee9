// One pass of the byte loops: up to four sealed pages against all rows of a piece.
//
//   for each page:  scales, the mean's lines, scores of every row       bytes/scores_<target>.hpp
//   for each row:   running softmax, weights as bytes                    bytes/weights.hpp
//   for all pages:  weighted sums of values                              bytes/values_<target>.hpp
//
// Rows go in groups of up to four, which the inner loops keep in registers. Tokens that a row does not see get the score -infinity.
#if defined(QJL_BYTES_PASS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_PASS
#undef QJL_BYTES_PASS
#else
#define QJL_BYTES_PASS
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "args.hpp"
#include "bytes/fetch.hpp"
#include "bytes/groups.hpp"
#include "bytes/query.hpp"
#include "bytes/shape.hpp"
#include "bytes/weights.hpp"
#include "exp.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "piece.hpp"
#include "scratch.hpp"
#include "tile/accumulators.hpp"
#include "tile/mean_line.hpp"
#include "tile/rows.hpp"
#include "tile/scales.hpp"

#if QJL_BYTE_LOOPS
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Sealed pages in a row.
struct PagePass {
  int count;
  std::int64_t first_page;
  const std::uint8_t* body[kPassPages];
  std::ptrdiff_t ahead[kPassPages];  // from a body to the one in its place in the next pass; 0 when there is none
  const layout::PageHead* head[kPassPages];
};

// What does not change from pass to pass.
struct BytesPiece {
  const CodecTables& tables;
  layout::BodyLayout at;
  const AttendScratch& scratch;
  const Accumulators& state;
  Rows ordered;  // queries in the mean's order of channels
  int rows;

  BytesQuery query() const {
    return {scratch.byte_loops.query, bytes_of_query(tables.shape), scratch.byte_loops.query_step, scratch.byte_loops.query_offset};
  }
  // Rows of a group that starts at `row`: groups of nearly equal size, at most kGroupRows.
  int group_at(int row) const {
    const int left = rows - row, groups = (left + kGroupRows - 1) / kGroupRows;
    return (left + groups - 1) / groups;
  }
};

// Scores of page `i` of the pass, all rows.
inline void score_page(const BytesPiece& p, const PagePass& pass, int i, Fetcher& fetcher) {
  const AttendScratch& s = p.scratch;
  const layout::PageShape& shape = p.tables.shape;
  const std::uint8_t* body = pass.body[i];
  const layout::PageHead& head = *pass.head[i];
  for (std::int64_t at = 0; p.rows > 1 && at < p.at.keys; at += layout::kLineBytes) ask<1>(body + at, pass.ahead[i]);
  fetcher.setup();
  decode_scales(body + p.at.key_scales, head.key_scale_max, s.scales);
  decode_scales(body + p.at.value_scales, head.value_scale_max, s.byte_loops.value_scales + i * layout::kPageTokens);
  fetcher.setup();
  mean_lines(p.tables, head, body + p.at.mean, p.ordered, s);
  const auto* lines = reinterpret_cast<const MeanLine*>(s.mean_lines);
  const BytesQuery q = p.query();
  for (int row = 0; row < p.rows;) {
    const int count = p.group_at(row);
    const BytesQuery group{q.bytes + row * q.stride, q.stride, q.step + row, q.offset + row};
    page_scores(shape, count, group,
                {body + p.at.keys, s.scales, lines + row, s.byte_loops.scores + row * kPassTokens + i * layout::kPageTokens,
                 row == 0 ? pass.ahead[i] : 0, &fetcher});
    row += count;
  }
}

// Scores [128] of one page, slot order: -infinity outside the window.
inline void mask_scores(const Window& window, float* scores) {
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const i32x16 token = lane_numbers() * splat_i32(layout::kFrames) + splat_i32(frame);
    const f32x16 nothing = splat(-std::numeric_limits<float>::infinity());
    f32x16 s = load(scores + layout::kFrameSlots * frame);
    s = select(token >= splat_i32(window.first), s, nothing);
    s = select(token <= splat_i32(window.last), s, nothing);
    store(scores + layout::kFrameSlots * frame, s);
  }
}

inline void cap_scores(float soft_cap, int count, float* scores) {
  for (int i = 0; i < count; i += 16) store(scores + i, tanh(load(scores + i) / splat(soft_cap)) * splat(soft_cap));
}

// Softmax and values of a pass whose scores are there.
inline void weigh_pass(const BytesPiece& p, const PagePass& pass, Fetcher& fetcher) {
  const BytesScratch& s = p.scratch.byte_loops;
  bool any = false;
  for (int row = 0; row < p.rows; ++row) {
    const PassRow weights{pass.count,
                          static_cast<int>(pass.first_page % kPassPages),
                          s.scores + row * kPassTokens,
                          s.value_scales,
                          s.weights + row * kPassTokens,
                          s.weight_scales + row * layout::kFrames};
    if (weigh_row(p.state, row, weights, fetcher)) {
      any = true;
    } else {
      std::fill_n(weights.weights, kPassTokens, std::uint8_t{0});
      std::fill_n(weights.weight_scales, layout::kFrames, 0.0f);
    }
  }
  if (!any) return;
  for (int row = 0; row < p.rows;) {
    const int count = p.group_at(row);
    WeighedPages pages{pass.count,
                       {},
                       {},
                       &fetcher,
                       s.weights + row * kPassTokens,
                       s.weight_scales + row * layout::kFrames,
                       p.state.frames + row * p.state.frame_floats};
    for (int i = 0; i < pass.count; ++i) {
      pages.values[i] = pass.body[i] + p.at.values;
      pages.ahead[i] = row == 0 ? pass.ahead[i] : 0;
    }
    pass_values(p.tables.shape, count, pages);
    row += count;
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
