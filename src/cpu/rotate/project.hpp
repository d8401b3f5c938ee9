// Queries into the coordinates of the key codes.
//
//   rotated codes  [P_f q] for each frame f of a key       jl   [S q_in, S_o q_out]       exact   q itself
#if defined(QJL_ROTATE_PROJECT) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ROTATE_PROJECT
#undef QJL_ROTATE_PROJECT
#else
#define QJL_ROTATE_PROJECT
#endif

#include <algorithm>
#include <cstdint>

#include "args.hpp"
#include "frame.hpp"
#include "page.hpp"
#include "rotate/rows.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

inline void project_sketch(const CodecTables& tables, const float* q, const std::uint8_t* outlier_idx, float* out) {
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, count = shape.outlier_channels;
  float inliers[layout::kMaxHeadDim], outliers[layout::kMaxHeadDim];
  std::copy_n(q, d, inliers);
  for (int n = 0; n < count; ++n) {
    outliers[n] = q[outlier_idx[n]];
    inliers[outlier_idx[n]] = 0.0f;
  }
  for (int row = 0; row < shape.sketch_rows; ++row) out[row] = dot_row(tables.sketch + std::int64_t{row} * d, inliers, d);
  for (int row = 0; row < shape.outlier_rows; ++row) {
    float sum = 0.0f;
    for (int n = 0; n < count; ++n) sum += tables.outlier_sketch[std::int64_t{row} * count + n] * outliers[n];
    out[shape.sketch_rows + row] = sum;
  }
}

inline void project_rows(const ProjectArgs& args) {
  const CodecTables& tables = *args.tables;
  const layout::PageShape& shape = tables.shape;
  const std::int64_t d = shape.head_dim, width = layout::key_coordinates(shape);
  for (int row = 0; row < args.rows; ++row) {
    const float* q = args.queries + row * d;
    float* out = args.projected + row * width;
    switch (shape.key.book) {
      case Book::exact: std::copy_n(q, d, out); break;
      case Book::signs:
      case Book::levels:
      case Book::fine:
      case Book::trellis:
        for (int f = 0; f < shape.key.frames; ++f) rotate_row(key_frame(tables, f), q, out + f * d);
        break;
      case Book::sketch: project_sketch(tables, q, args.outlier_idx, out); break;
      case Book::minmax: break;  // values only
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
