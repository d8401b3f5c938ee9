// What the two halves of the byte loops hand on: a query as a target's score loops read it, a page to score, pages to weigh.
//
// bytes/scores_<target>.hpp and bytes/values_<target>.hpp have the loops, bytes/groups.hpp the seam: build_query, page_scores,
// pass_values.
#if defined(QJL_BYTES_QUERY) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_QUERY
#undef QJL_BYTES_QUERY
#else
#define QJL_BYTES_QUERY
#endif

#include <cstddef>
#include <cstdint>

#include "bytes/fetch.hpp"
#include "bytes/shape.hpp"
#include "tile/mean_line.hpp"

namespace qjl::cpu::QJL_NAMESPACE {

// The queries of an attend: [rows][stride] bytes of tables or whole numbers, and what turns integer sums into dots.
struct BytesQuery {
  std::uint8_t* bytes;
  std::int64_t stride;
  float* step;
  float* offset;
};

// One page and where its scores go: out[row * kPassTokens + slot]. Rows start at `row` of everything that is per row.
struct ScoredPage {
  const std::uint8_t* keys;
  const float* scales;   // [128]
  const MeanLine* mean;  // [rows]
  float* out;
  std::ptrdiff_t ahead;  // from this page to the one to ask for, several rows
  Fetcher* fetcher;      // one row
};

// What one pass over a few pages adds up.
struct WeighedPages {
  int count;
  const std::uint8_t* values[kPassPages];
  std::ptrdiff_t ahead[kPassPages];
  Fetcher* fetcher;
  const std::uint8_t* weights;  // [rows][8 frames][4 quads][kPassPages][4]
  const float* weight_scales;   // [rows][8 frames]
  float* frames;                // [rows][8 frames][d]
};

}  // namespace qjl::cpu::QJL_NAMESPACE

#endif
