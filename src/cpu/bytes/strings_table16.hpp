// Scores of keys whose codes are strings (trellis.hpp) where a look-up takes 16 entries: indices by shifts and exclusive ors
// (tile/strings.hpp), then levels (of 7 bits, or whole: index_levels.hpp) times an int8 query.
#if defined(QJL_BYTES_STRINGS_TABLE16) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_STRINGS_TABLE16
#undef QJL_BYTES_STRINGS_TABLE16
#else
#define QJL_BYTES_STRINGS_TABLE16
#endif

#include <cstdint>

#include "bytes/fetch.hpp"
#include "bytes/index_levels.hpp"
#include "bytes/query.hpp"
#include "bytes/scores_table16.hpp"
#include "bytes/shape.hpp"
#include "bytes/vectors.hpp"
#include "page.hpp"
#include "tile/strings.hpp"
#include "trellis.hpp"

#if QJL_BYTE_LOOPS && !QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

template <Code kCode, int kRows>
inline void string_scores(const BytesQuery& q, int d, const ScoredPage& page) {
  constexpr int kFrames = kRows > 2 ? 1 : 4 / kRows;  // at a time, so that all sums stay in registers
  constexpr int kBytes = key_group(traits(kCode)).bytes, kSteps = key_group(traits(kCode)).steps, kLines = 4 * kBytes;
  const IndexLevels<kCode> levels(kKeyLevels<kCode>);
  const int words = d / (4 * kSteps);
  for (int half = 0; half < layout::kHalves; ++half) {
    HalfDots<kRows> dots;
    for (int part = 0; part < kLineVectors * 4 / kFrames; ++part) {
      const int vector = part * kFrames / 4, frame = part * kFrames % 4;
      NativeI sum[kRows][kFrames] = {};
      const std::uint8_t* keys = page.keys + layout::key_string_offset(traits(kCode), d, half, 0, frame) + vector * kVectorBytes;
      const std::uint8_t* numbers = q.bytes;
      const auto line = [](const std::uint8_t* word, int i, int byte) {
        return (NativeU)load_bytes(word + (i * kBytes + byte) * layout::kLineBytes);
      };
      NativeU last[kFrames];
      QJL_UNROLL
      for (int i = 0; i < kFrames; ++i) last[i] = line(keys + (words - 1) * kLines * layout::kLineBytes, i, kBytes - 1);
      for (int word = 0; word < words; ++word, keys += kLines * layout::kLineBytes, numbers += 4 * kSteps) {
        if (vector == 0) kRows == 1 ? page.fetcher->step() : ask<kFrames * kBytes>(keys, page.ahead);
        QJL_UNROLL
        for (int i = 0; i < kFrames; ++i) {
          KeyGroups<kCode, NativeU> groups;
          QJL_UNROLL
          for (int byte = 0; byte < kBytes; ++byte) groups.own[byte] = line(keys, i, byte);
          groups.before = groups.own[kBytes - 1] << 8 | last[i] >> 24;
          last[i] = groups.own[kBytes - 1];
          each_step<kSteps>([&]<int kStep>() __attribute__((always_inline)) {
            const NativeB level = levels.of((NativeB)string_indices<kStep>(groups));
            QJL_UNROLL
            for (int row = 0; row < kRows; ++row) {
              const auto* four = reinterpret_cast<const std::int8_t*>(numbers + row * q.stride) + 4 * kStep;
              sum[row][i] = has_whole_keys(kCode) ? add_whole_dot(sum[row][i], level, four) : add_dot(sum[row][i], level, four);
            }
          });
        }
      }
      dots.put(frame, vector, sum, q);
    }
    dots.store_scores(page, half);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
