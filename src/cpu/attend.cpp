// Attention of one block of queries (heads that share a kv head) over a range of positions, sealed pages and exact rows in one
// softmax.
//
//   s[t] = cap(softmax_scale <q, k_t>),  out = sum_t exp(s[t] - m) v_t,  sum = sum_t exp(s[t] - m)
//
// Both kinds of tokens go the same way, 64 at a time: scores as a product with a decoded tile, the running softmax, values weighted
// into accumulators. Values of sealed pages are summed in their frames as integer levels; each frame is rotated back once, at the
// end. Cost: one decode of every page in range; 2 rows * head_dim multiply-adds a token.
#define QJL_THIS_FILE "attend.cpp"
#define QJL_WITH_BYTE_DOTS
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstdint>
#include <limits>

#include "args.hpp"
#include "bytes/fetch.hpp"
#include "bytes/groups.hpp"
#include "bytes/pass.hpp"
#include "bytes/shape.hpp"
#include "frame.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "piece.hpp"
#include "rotate/project.hpp"
#include "rotate/rows.hpp"
#include "scratch.hpp"
#include "tile/accumulators.hpp"
#include "tile/block.hpp"
#include "tile/exact_rows.hpp"
#include "tile/half_scores.hpp"
#include "tile/mean_line.hpp"
#include "tile/rows.hpp"
#include "tile/scales.hpp"
#include "tile/sealed_page.hpp"
#include "tile/softmax_block.hpp"
#include "tile/weigh_values.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Everything that the steps of one piece share.
struct Piece : PieceRows {
  layout::BodyLayout at;
  AttendScratch scratch;
  Accumulators state;

  Piece(const AttendArgs& a, const AttendPiece& p)
      : PieceRows{a, p, 0, p.num_queries * p.num_heads_in_group},
        at(layout::body_layout(a.tables->shape)),
        scratch(*a.tables, p.workspace) {
    const layout::PageShape& shape = a.tables->shape;
    const std::int64_t frame_floats = shape.value.rotated() ? layout::kFrames * shape.value.frames * shape.head_dim : 0;
    state = {scratch.reference, scratch.sums, scratch.frames, frame_floats, p.out, shape.head_dim};
  }
};

// Queries to fp32, times the softmax scale (scores are linear in them); empty accumulators.
inline void begin(const Piece& p) {
  const AttendArgs& a = p.args;
  const int d = a.tables->shape.head_dim;
  for (int row = 0; row < p.rows; ++row) {
    const std::int64_t at = query_at(p, row);
    float* out = p.scratch.queries + std::int64_t{row} * d;
    for (int c = 0; c < d; c += 16) {
      const f32x16 q = a.query_dtype == DType::f32 ? load(static_cast<const float*>(a.queries) + at + c)
                                                   : load_row(static_cast<const std::uint16_t*>(a.queries) + at + c, a.query_dtype);
      store(out + c, q * splat(a.softmax_scale));
    }
  }
  std::fill_n(p.state.reference, p.rows, -std::numeric_limits<float>::infinity());
  std::fill_n(p.state.sums, p.rows * 16, 0.0f);
  std::fill_n(p.state.frames, p.rows * p.state.frame_floats, 0.0f);
  std::fill_n(p.state.exact, std::int64_t{p.rows} * d, 0.0f);
}

inline void attend_half(const Piece& p, const SealedPage& page, int half, std::int64_t base, int num_sinks) {
  const layout::PageShape& shape = p.args.tables->shape;
  const AttendScratch& s = p.scratch;
  const std::int64_t width = layout::key_coordinates(shape);
  half_scores(page, {s.projected, width, p.rows}, half, s.tile, s.weights, s.scores);
  const ColumnOrder order{4 * half, layout::kFrames, 1, layout::kPageTokens};
  const bool rotated = shape.value.rotated();
  const float* value_scales = s.scales + layout::kPageTokens + layout::kHalfSlots * half;
  bool any = false;
  for (int row = 0; row < p.rows; ++row) {
    float* scores = s.scores + row * kBlockTokens;
    any |=
        softmax_row(p.state, row, row_window(p, row, base, num_sinks, layout::kPageTokens), order, p.args.logit_soft_cap, scores);
    for (int c = 0; rotated && c < kBlockTokens; c += 16) store(scores + c, load(scores + c) * load(value_scales + c));
  }
  if (!any) return;
  switch (shape.value.book) {
    case Book::exact: return weigh_rows(half_rows(page, p.at.values, half), shape.head_dim, s.scores, p.rows, p.state.exact);
    case Book::signs:
    case Book::levels:
    case Book::fine:
    case Book::trellis: return weigh_rotated(shape, page.body + p.at.values, half, s.scores, p.rows, p.state.frames);
    case Book::sketch: return;  // keys only
    case Book::minmax: return weigh_minmax(page, half, s.scores, p.rows, p.state.exact);
  }
}

#if QJL_BYTE_LOOPS
// Few rows: pages in passes that end on multiples of kPassPages. One row waits for memory: a page at a time, every byte in the
// order of addresses. Several rows wait for their own arithmetic: four pages, so that accumulators are touched seldom.
inline void attend_pages_bytes(const Piece& p, PageRange range, const Rows& ordered) {
  const CodecTables& tables = *p.args.tables;
  const BytesPiece bytes{tables, p.at, p.scratch, p.state, ordered, p.rows};
  const std::int64_t at_once = p.rows > 1 ? kPassPages : 1;
  build_query(tables.shape, {p.scratch.projected, layout::key_coordinates(tables.shape), p.rows}, bytes.query());
  Fetcher fetcher = p.rows == 1 ? Fetcher(tables.shape) : Fetcher();
  for (std::int64_t i = range.first; i < range.end;) {
    const std::int64_t pages = smaller(i / at_once * at_once + at_once, range.end) - i;  // up to the next multiple
    PagePass pass{};
    pass.first_page = i;
    while (pass.count < pages) {
      pass.body[pass.count] = body_at(p, i);
      pass.head[pass.count] = &head_at(p, i);
      pass.ahead[pass.count] = i + at_once < range.end ? body_at(p, i + at_once) - body_at(p, i) : 0;
      if (p.rows == 1) fetcher.start(pass.body[pass.count] + pass.ahead[pass.count]);
      score_page(bytes, pass, pass.count, fetcher);
      for (int row = 0; row < p.rows; ++row) {
        float* scores = p.scratch.byte_loops.scores + row * kPassTokens + pass.count * layout::kPageTokens;
        if (p.args.logit_soft_cap > 0.0f) cap_scores(p.args.logit_soft_cap, layout::kPageTokens, scores);
        const Window window = row_window(p, row, i * layout::kPageTokens, pass.head[pass.count]->num_sinks, layout::kPageTokens);
        if (window.hides_some(layout::kPageTokens)) mask_scores(window, scores);
      }
      ++pass.count;
      ++i;
    }
    weigh_pass(bytes, pass, fetcher);
  }
}
#endif

inline void attend_pages(const Piece& p) {
  const CodecTables& tables = *p.args.tables;
  const PageRange range = visible_pages(p);
  if (range.first >= range.end) return;
  project_rows({&tables, p.scratch.queries, p.rows, body_at(p, range.first) + p.at.outlier_idx, p.scratch.projected});
  const Rows ordered = order_rows(tables, {p.scratch.queries, tables.shape.head_dim, p.rows}, p.scratch.ordered);
#if QJL_BYTE_LOOPS
  if (can_attend_bytes(tables.shape, p.rows)) return attend_pages_bytes(p, range, ordered);
#endif
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const std::uint8_t* body = body_at(p, i);
    const layout::PageHead& head = head_at(p, i);
    if (tables.shape.key.rotated()) {
      mean_lines(tables, head, body + p.at.mean, ordered, p.scratch);
      decode_scales(body + p.at.key_scales, head.key_scale_max, p.scratch.scales);
    }
    if (tables.shape.value.rotated()) {
      decode_scales(body + p.at.value_scales, head.value_scale_max, p.scratch.scales + layout::kPageTokens);
    }
    const SealedPage page{&tables,
                          &p.at,
                          body,
                          p.scratch.scales,
                          reinterpret_cast<const MeanLine*>(p.scratch.mean_lines),
                          i + 1 < range.end ? body_at(p, i + 1) : nullptr};
    for (int half = 0; half < layout::kHalves; ++half) attend_half(p, page, half, i * layout::kPageTokens, head.num_sinks);
  }
}

inline void attend_rows(const Piece& p, const ExactRows& rows) {
  const int d = p.args.tables->shape.head_dim;
  const Range range = visible(p);
  const std::int64_t begin = larger(range.first - rows.first_position, 0);
  const std::int64_t end = smaller(range.end - rows.first_position, rows.count);
  const Rows queries{p.scratch.queries, d, p.rows};
  for (std::int64_t t = begin; t < end; t += kBlockTokens) {
    const int count = static_cast<int>(std::min<std::int64_t>(kBlockTokens, end - t));
    const std::int64_t offset = p.piece.kv_head * rows.head_stride + t * rows.token_stride;
    const std::int64_t ahead = t + kBlockTokens < end ? kBlockTokens * rows.token_stride : 0;
    row_scores(queries, {rows.keys + offset, rows.token_stride, p.args.row_dtype, count, ahead}, d, p.scratch.scores);
    bool any = false;
    for (int row = 0; row < p.rows; ++row) {
      const Window window = row_window(p, row, rows.first_position + t, 0, count);
      any |=
          softmax_row(p.state, row, window, {0, 1, 16, kBlockTokens}, p.args.logit_soft_cap, p.scratch.scores + row * kBlockTokens);
    }
    if (!any) continue;
    const ExactBlock values{rows.values + offset, rows.token_stride, p.args.row_dtype, count, ahead};
    weigh_rows(values, d, p.scratch.scores, p.rows, p.state.exact);
  }
}

// Frames back to plain coordinates, sums and maxima out.
inline void finish(const Piece& p) {
  const CodecTables& tables = *p.args.tables;
  const int frames = p.state.frame_floats == 0 ? 0 : layout::kFrames * tables.shape.value.frames;
  Frame frame[2 * layout::kFrames];
  for (int f = 0; f < frames; ++f) frame[f] = value_frame(tables, f);
  for (int row = 0; row < p.rows; ++row) {
    if (frames > 0) {
      unrotate_rows(frame, frames, p.state.frames + row * p.state.frame_floats, p.state.exact + std::int64_t{row} * p.state.d);
    }
    p.piece.max[row] = p.state.reference[row];
    p.piece.sum[row] = reduce_add(load(p.state.sums + row * 16));
  }
}

void attend(const AttendArgs& args, const AttendPiece& piece) {
  const Piece p(args, piece);
  begin(p);
  attend_pages(p);
  for (int i = 0; i < args.num_exact; ++i) attend_rows(p, args.exact[i]);
  finish(p);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
