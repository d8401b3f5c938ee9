// Scores one page of sealed keys against projected queries, in slot order: what attend does inside, by itself.
//
//   out[row * 128 + slot] = <q, prediction of the mean> + scale[slot] * <projected, level[slot]>          see tile/half_scores.hpp
#define QJL_THIS_FILE "score.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstdint>

#include "args.hpp"
#include "page.hpp"
#include "scratch.hpp"
#include "tile/block.hpp"
#include "tile/half_scores.hpp"
#include "tile/mean_line.hpp"
#include "tile/rows.hpp"
#include "tile/scales.hpp"
#include "tile/sealed_page.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

void score(const ScoreArgs& args) {
  const layout::PageShape& shape = args.tables->shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const AttendScratch scratch(*args.tables, args.workspace);
  const std::int64_t width = layout::key_coordinates(shape);
  const bool rotated = shape.key.rotated();
  if (rotated) decode_scales(args.body + at.key_scales, args.head->key_scale_max, scratch.scales);
  for (int first = 0; first < args.rows; first += kMaxAttendRows) {
    const int rows = std::min(kMaxAttendRows, args.rows - first);
    if (rotated) {
      const Rows queries{args.queries + std::int64_t{first} * shape.head_dim, shape.head_dim, rows};
      mean_lines(*args.tables, *args.head, args.body + at.mean, order_rows(*args.tables, queries, scratch.ordered), scratch);
    }
    const auto* lines = reinterpret_cast<const MeanLine*>(scratch.mean_lines);
    const SealedPage page{args.tables, &at, args.body, scratch.scales, lines, nullptr};
    for (int half = 0; half < layout::kHalves; ++half) {
      half_scores(page, {args.projected + first * width, width, rows}, half, scratch.tile, scratch.weights, scratch.scores);
      for (int row = 0; row < rows; ++row) {
        std::copy_n(scratch.scores + row * kBlockTokens, kBlockTokens,
                    args.out + std::int64_t{first + row} * layout::kPageTokens + layout::kHalfSlots * half);
      }
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
