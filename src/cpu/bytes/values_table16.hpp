// Weighted sums of the values of up to four pages by bytes where a look-up takes 16 entries: AVX-512 without VBMI, AVX2 and NEON.
// The seam is that of bytes/values_avx512vbmi.hpp: frames[row][f][channel] += scale[row][f] * sum_t w[t] * level[t].
//
// Levels of l4 and l8 are small whole numbers times a unit, so that more products are added in 16 bits: l4 (3 10) 12, exactly; l8
// (5 16 28 45) 2.8195, which is off by .01 % of the code's own error. Those of l16 are what they are; weight_reach() keeps the two
// products that one instruction adds within 16 bits. Cost a token and row: d / (register bytes * 4) products a token; decoding is
// shared.
#if defined(QJL_BYTES_VALUES_TABLE16) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_VALUES_TABLE16
#undef QJL_BYTES_VALUES_TABLE16
#else
#define QJL_BYTES_VALUES_TABLE16
#endif

#include <cstdint>

#include "bytes/fetch.hpp"
#include "bytes/index_levels.hpp"
#include "bytes/query.hpp"
#include "bytes/shape.hpp"
#include "bytes/vectors.hpp"
#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/strings.hpp"
#include "trellis.hpp"

#if QJL_BYTE_LOOPS && !QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Levels by the low nibble of a byte of codes: of its first number (shift 0) or its second.
template <Code kCode, int kShift>
struct NibbleLevels {
  static constexpr float kUnit = kCode == Code::l4 ? 12.0f : kCode == Code::l8 ? 2.8195f : 1.0f;
  struct Table {
    alignas(16) std::uint8_t of[16];
  };
  static constexpr Table table() {
    Table t{};
    for (int i = 0; i < 16; ++i) {
      const int code = (i >> kShift) & ((1 << traits(kCode).bits) - 1);
      t.of[i] = static_cast<std::uint8_t>(nearest(level_of(kCode, code) / kUnit));
    }
    return t;
  }
  static constexpr Table kTable = table();
};

// Vector number `vector` of the lines of a block of 16 channels, as levels: byte i of level[q] is token 4 q + i.
template <Code kCode>
  requires(traits(kCode).values == ValueLayout::strings)
QJL_INLINE void quad_levels(const std::uint8_t* frame, int vector, int block, int blocks, NativeB (&level)[4]) {
  constexpr int kSteps = value_group(traits(kCode)).steps;
  const IndexLevels<kCode> levels(kWholeLevels<kCode>);
  const int stretch = block / kSteps, stretches = blocks / kSteps;
  const auto line = [&](int of_stretch, int q, int byte) {
    return frame +
           (of_stretch * layout::string_lines(traits(kCode)) + layout::string_line(traits(kCode), q, byte)) * layout::kLineBytes;
  };
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) {
    const auto own = [&](int byte) { return (NativeU)load_bytes(line(stretch, q, byte) + vector * kVectorBytes); };
    const auto before = [&](int byte) {
      if (vector > 0) return (NativeU)load_bytes(line(stretch, q, byte) + vector * kVectorBytes - 4);
      const std::uint8_t* other = line((stretch + stretches - 1) % stretches, q, byte);
      return next_lane(own(byte), (NativeU)load_bytes(other + layout::kLineBytes - kVectorBytes));
    };
    const ValueGroups<kCode, NativeU> groups = value_groups<kCode, NativeU>(q, own, before);
    each_step<kSteps>([&]<int kStep>() __attribute__((always_inline)) {
      if (block % kSteps == kStep) level[q] = levels.of((NativeB)string_indices<kStep>(groups));
    });
  }
}

template <Code kCode>
QJL_INLINE void quad_levels(const std::uint8_t* frame, int vector, int block, int, NativeB (&level)[4]) {
  const std::uint8_t* lines = frame + vector * kVectorBytes;
  const NativeB first = load_table(NibbleLevels<kCode, 0>::kTable.of);
  constexpr ValueLayout kLayout = traits(kCode).values;
  if constexpr (kLayout == ValueLayout::lines) {
    const NativeB second = load_table(NibbleLevels<kCode, 2>::kTable.of);
    const NativeB codes = load_bytes(lines + block * layout::kLineBytes);
    const NativeB low = low_bits(codes, 15), high = low_bits(shift_right(codes, 4), 15);
    level[0] = look_up(first, low);
    level[1] = look_up(second, low);
    level[2] = look_up(first, high);
    level[3] = look_up(second, high);
  } else {
    NativeB group[2];
    if constexpr (kLayout == ValueLayout::triples) {  // a pair of blocks has three lines
      const std::uint8_t* pair = lines + block / 2 * 3 * layout::kLineBytes;
      const NativeB a = load_bytes(pair), b = load_bytes(pair + layout::kLineBytes);
      const NativeB c = load_bytes(pair + 2 * layout::kLineBytes);
      group[0] = block % 2 == 0 ? a : c;
      group[1] = block % 2 == 0 ? b : top_bits(a, b, c);
    } else {
      static_assert(kLayout == ValueLayout::line_pairs);
      group[0] = load_bytes(lines + 2 * block * layout::kLineBytes);
      group[1] = load_bytes(lines + (2 * block + 1) * layout::kLineBytes);
    }
    QJL_UNROLL
    for (int i = 0; i < 2; ++i) {
      level[2 * i] = look_up(first, low_bits(group[i], 15));
      level[2 * i + 1] = look_up(first, low_bits(shift_right(group[i], traits(kCode).bits), 15));
    }
  }
}

// Quads whose products are added in 16 bits: pairs of bytes of weights, 258 together, times the largest level of a table.
constexpr int quads_at_once(int largest) {
  const int most = 32767 / (258 * largest);
  return most >= 4 ? 4 : most >= 2 ? 2 : 1;
}
template <Code kCode>
inline constexpr int kQuadsAtOnce = quads_at_once(nearest(largest_level(kCode) / NibbleLevels<kCode, 0>::kUnit));
static_assert(kQuadsAtOnce<Code::l4> == 4 && kQuadsAtOnce<Code::l8> == 2 && kQuadsAtOnce<Code::l16> == 1);

template <Code kCode, int kRows>
inline void weigh_group(const layout::PageShape& shape, const WeighedPages& pages) {
  constexpr int kTogether = kRows == 1 && kLineVectors > 1 ? 2 : 1;
  const int d = shape.head_dim, lines = layout::value_lines_per_frame(traits(kCode), d);
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const std::int64_t at = std::int64_t{frame} * lines * layout::kLineBytes;
    const std::uint8_t* weights = pages.weights + frame * layout::kLineBytes;
    // A vector at a time, or two for one row: the sums of all rows and a vector of levels fit the registers.
    for (int part = 0; part < d / QJL_LANES; part += kTogether) {
      const int block = part / kLineVectors, vector = part % kLineVectors;
      NativeI sum[kTogether][kRows] = {};
      for (int page = 0; page < pages.count; ++page) {
        const std::uint8_t* codes = pages.values[page] + at;
        if (kRows == 1 && vector == 0 && block % 4 == 0) pages.fetcher->part();
        if (kRows > 1 && vector == 0) {  // the lines of a block; of l8 two blocks share three, and this is one more at times
          ask<(traits(kCode).bits + 1) / 2>(codes + block * traits(kCode).bits / 2 * layout::kLineBytes, pages.ahead[page]);
        }
        QJL_UNROLL
        for (int i = 0; i < kTogether; ++i) {
          NativeB level[4];
          quad_levels<kCode>(codes, vector + i, block, d / 16, level);
          QJL_UNROLL
          for (int row = 0; row < kRows; ++row) {
            sum[i][row] =
                add_weighed<kQuadsAtOnce<kCode>>(sum[i][row], level, weights + row * kPassTokens + 4 * page, 4 * kPassPages);
          }
        }
      }
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        NativeF scale;
        fill(pages.weight_scales[row * layout::kFrames + frame] * NibbleLevels<kCode, 0>::kUnit, scale);
        float* out = pages.frames + (std::int64_t{row} * layout::kFrames + frame) * d + part * QJL_LANES;
        QJL_UNROLL
        for (int i = 0; i < kTogether; ++i) {
          NativeF old;
          read(out + i * QJL_LANES, old);
          write(out + i * QJL_LANES, fused_multiply_add(to_f32(sum[i][row]), scale, old));
        }
      }
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
