// Levels as bytes by the index of a level, where a look-up takes 16 entries: of keys in the unit that add_dot takes, of values as they
// are.
//
//   64 levels   four tables; an index beyond a table of its own gives 0 there (pshufb: the top bit set, tbl: 16 and more)
#if defined(QJL_BYTES_INDEX_LEVELS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_INDEX_LEVELS
#undef QJL_BYTES_INDEX_LEVELS
#else
#define QJL_BYTES_INDEX_LEVELS
#endif

#include <cstdint>

#include "bytes/shape.hpp"
#include "bytes/vectors.hpp"
#include "codebook.hpp"
#include "lanes.hpp"

#if QJL_BYTE_LOOPS && !QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

inline constexpr int kEntries = 16;  // of a look-up

struct ByteLevels {
  alignas(kEntries) std::uint8_t of[2 * kMaxLevels];
};
constexpr ByteLevels byte_levels(Code code, float unit, int offset) {
  ByteLevels levels{};
  for (int i = 0; i < 2 * codebook(code).count; ++i) {
    levels.of[i] = static_cast<std::uint8_t>(nearest(level_of(code, i) / unit) + offset);
  }
  return levels;
}
// Keys whose code is closer than levels of 7 bits would be.
constexpr bool has_whole_keys(Code code) { return traits(code).keys == KeyLayout::strings && traits(code).bits > 3; }
template <Code kCode>
inline constexpr float kLevelUnit = has_whole_keys(kCode) ? 1.0f : kKeyUnit;
template <Code kCode>
inline constexpr int kLevelOffset = has_whole_keys(kCode) ? 0 : kKeyOffset;
template <Code kCode>
inline constexpr ByteLevels kKeyLevels = byte_levels(kCode, kLevelUnit<kCode>, kLevelOffset<kCode>);
template <Code kCode>
inline constexpr ByteLevels kWholeLevels = byte_levels(kCode, 1.0f, 0);

template <Code kCode>
struct IndexLevels {
  static constexpr int kTables = (2 * codebook(kCode).count + kEntries - 1) / kEntries;
  NativeB table[kTables];
  QJL_INLINE explicit IndexLevels(const ByteLevels& levels) {
    QJL_UNROLL
    for (int t = 0; t < kTables; ++t) table[t] = load_table(levels.of + t * kEntries);
  }
  QJL_INLINE NativeB of(NativeB index) const {
    if constexpr (kTables == 1) return look_up(table[0], index);
    if constexpr (kTables == 2) {
      const NativeB upper = (NativeB)(index > (NativeB{} + std::uint8_t{kEntries - 1}));
      const NativeB in_table = low_bits(index, kEntries - 1);
      return (look_up(table[1], in_table) & upper) | (look_up(table[0], in_table) & ~upper);
    }
    constexpr std::uint8_t kBeyond = QJL_LANES >= 8 ? 0x70 : 0;
    NativeB level{};
    QJL_UNROLL
    for (int t = 0; t < kTables; ++t) {
      level |= look_up(table[t], (index ^ (NativeB{} + static_cast<std::uint8_t>(t * kEntries))) + (NativeB{} + kBeyond));
    }
    return level;
  }
};

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
