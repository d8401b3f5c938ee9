// A block of packed codes as eight vectors of bytes. packed_weight.hpp has the layout.
//
//   codes[j] byte 4 r + i = the code of row r, column 4 j + i
#if defined(QJL_MATH_PACKED_CODES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_MATH_PACKED_CODES
#undef QJL_MATH_PACKED_CODES
#else
#define QJL_MATH_PACKED_CODES
#endif

#include <cstddef>

#include "dots.hpp"
#include "lanes.hpp"
#include "packed_weight.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

template <CodeWidth width, int j>
QJL_INLINE u32x16 with_upper_bits(u32x16 nibbles, const u32x16 (&planes)[2]) {
  return width == CodeWidth::fives ? high_bits<j, 1>(nibbles, planes[0]) : high_bits<2 * (j % 4), 2>(nibbles, planes[j / 4]);
}

template <CodeWidth width>
QJL_INLINE void load_codes(const std::byte* p, u32x16 (&codes)[8]) {
  if constexpr (width == CodeWidth::bytes) {
    for (int j = 0; j < 8; ++j) codes[j] = load_u32(p + 64 * j);
    return;
  }
  for (int j = 0; j < 4; ++j) {
    const u32x16 both = load_u32(p + 64 * j);
    codes[j] = low_nibbles(both);
    codes[4 + j] = high_nibbles(both);
  }
  if constexpr (width == CodeWidth::nibbles) return;
  const u32x16 first = load_u32(p + 256);
  const u32x16 planes[2] = {first, width == CodeWidth::sixes ? load_u32(p + 320) : first};
  codes[0] = with_upper_bits<width, 0>(codes[0], planes);
  codes[1] = with_upper_bits<width, 1>(codes[1], planes);
  codes[2] = with_upper_bits<width, 2>(codes[2], planes);
  codes[3] = with_upper_bits<width, 3>(codes[3], planes);
  codes[4] = with_upper_bits<width, 4>(codes[4], planes);
  codes[5] = with_upper_bits<width, 5>(codes[5], planes);
  codes[6] = with_upper_bits<width, 6>(codes[6], planes);
  codes[7] = with_upper_bits<width, 7>(codes[7], planes);
}

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#endif
