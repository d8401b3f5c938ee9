// Which of a target's loops a code and a group of rows take.
//
//   build_query        tables or whole numbers of queries       build_tables<code>, build_numbers
//   page_scores        scores of one page                       table_scores<code, rows>, word_scores<code, rows>,
//                                                           string_scores<code, rows>
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
#include "bytes/strings_avx512vbmi.hpp"
#include "bytes/strings_table16.hpp"
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
  with_code(shape.key_code, [&]<Code kCode>() {
    for (int row = 0; has_byte_keys(kCode) && row < projected.count; ++row) {
      const float* q = projected.data + row * projected.stride;
      if constexpr (takes_numbers(traits(kCode))) {
        build_numbers<kCode>(q, shape.head_dim, row, out);
      } else if constexpr (has_byte_keys(kCode)) {
        build_tables<kCode>(q, layout::key_coordinates(shape), row, out);
      }
    }
  });
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
  with_code(shape.key_code, [&]<Code kCode>() {
    if constexpr (has_byte_keys(kCode)) {
      with_rows(rows, [&](auto count) {
        if constexpr (traits(kCode).keys == KeyLayout::words) {
          word_scores<kCode, count>(q, shape.head_dim, page);
        } else if constexpr (traits(kCode).keys == KeyLayout::strings) {
          string_scores<kCode, count>(q, shape.head_dim, page);
        } else {
          table_scores<kCode, count>(q, layout::key_row_bytes(traits(kCode), shape.head_dim), page);
        }
      });
    }
  });
}

inline void pass_values(const layout::PageShape& shape, int rows, const WeighedPages& pages) {
  with_code(shape.value_code, [&]<Code kCode>() {
    if constexpr (has_byte_values(kCode)) {
      with_rows(rows, [&](auto count) { weigh_group<kCode, count>(shape, pages); });
    }
  });
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
