// One sealed page as the tiles read it.
#if defined(QJL_TILE_SEALED_PAGE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_SEALED_PAGE
#undef QJL_TILE_SEALED_PAGE
#else
#define QJL_TILE_SEALED_PAGE
#endif

#include <cstdint>

#include "args.hpp"
#include "page.hpp"
#include "tile/block.hpp"
#include "tile/exact_rows.hpp"
#include "tile/mean_line.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// One sealed page as the kernels read it: scales [128] of the keys and mean_lines [rows] are made once a page.
struct SealedPage {
  const CodecTables* tables;
  const layout::BodyLayout* at;
  const std::uint8_t* body;
  const float* scales;
  const MeanLine* mean_lines;
  const std::uint8_t* next_body;  // of the page to come, null if none
};

// Half a page of 16-bit rows that start at byte `offset` of the body; the half to come is the page's other or the next page's
// first.
inline ExactBlock half_rows(const SealedPage& page, std::int64_t offset, int half) {
  const layout::PageShape& shape = page.tables->shape;
  const std::int64_t numbers = std::int64_t{layout::kHalfSlots} * shape.head_dim;
  const auto* rows = reinterpret_cast<const std::uint16_t*>(page.body + offset);
  std::int64_t ahead = numbers;
  if (half == layout::kHalves - 1) ahead = page.next_body == nullptr ? 0 : (page.next_body - page.body) / 2 - numbers;
  return {rows + half * numbers, shape.head_dim, shape.row_dtype, kBlockTokens, ahead};
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
