// Which of a target's loops a code and a group of rows take.
//
//   build_query        tables or whole numbers of queries       build_tables, build_numbers
//   page_scores        scores of one page                       table_scores<code, rows>, word_scores<rows>
//   pass_values        weighted sums of a pass of pages         weigh_group<code, rows>
//
// Rows are counted at compile time because their sums live in registers.
#if defined(QJL_BYTES_GROUPS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_GROUPS
#undef QJL_BYTES_GROUPS
#else
#define QJL_BYTES_GROUPS
#endif

#include <cstdint>
#include <type_traits>

#include "bytes/query.hpp"
#include "bytes/scores_avx512vbmi.hpp"
#include "bytes/scores_table16.hpp"
#include "bytes/shape.hpp"
#include "bytes/values_avx512vbmi.hpp"
#include "bytes/values_table16.hpp"
#include "page.hpp"
#include "tile/rows.hpp"

#if QJL_BYTE_LOOPS
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Projected queries [rows][coordinates].
inline void build_query(const layout::PageShape& shape, const Rows& projected, const BytesQuery& out) {
  for (int row = 0; row < projected.count; ++row) {
    const float* q = projected.data + row * projected.stride;
    if (shape.key_code == Code::l16) {
      build_numbers(q, shape.head_dim, row, out);
    } else {
      build_tables(shape.key_code, q, layout::key_coordinates(shape), row, out);
    }
  }
}

// loop(rows as a constant), 1 <= rows <= kGroupRows.
template <typename Loop>
QJL_INLINE void with_rows(int rows, const Loop& loop) {
  static_assert(kGroupRows == 4);
  switch (rows) {
    case 1: return loop(std::integral_constant<int, 1>());
    case 2: return loop(std::integral_constant<int, 2>());
    case 3: return loop(std::integral_constant<int, 3>());
    default: return loop(std::integral_constant<int, 4>());
  }
}

inline void page_scores(const layout::PageShape& shape, int rows, const BytesQuery& q, const ScoredPage& page) {
  const int code_rows = layout::key_row_bytes(shape.key_code, shape.head_dim);
  with_rows(rows, [&](auto count) {
    switch (shape.key_code) {
      case Code::s2: return table_scores<Code::s2, count>(q, code_rows, page);
      case Code::l8: return table_scores<Code::l8, count>(q, code_rows, page);
      default: return word_scores<count>(q, shape.head_dim, page);
    }
  });
}

inline void pass_values(const layout::PageShape& shape, int rows, const WeighedPages& pages) {
  with_rows(rows, [&](auto count) {
    switch (shape.value_code) {
      case Code::l4: return weigh_group<Code::l4, count>(shape, pages);
      case Code::l8: return weigh_group<Code::l8, count>(shape, pages);
      default: return weigh_group<Code::l16, count>(shape, pages);
    }
  });
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
