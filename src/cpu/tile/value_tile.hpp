// Decodes values into tiles of 16 tokens x 16 channels, a channel a lane, in registers where there are enough.
//
//   sealed:  one frame of a page (tokens 8 j + f), block b of 16 coordinates: tile[j] = levels of token j
//   rows:    the paper's min-max codes
//
// A line of codes has lane = channel and byte i of a word = tokens 4 q + i (page.hpp): one shift and one look-up a vector.
#if defined(QJL_TILE_VALUE_TILE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_VALUE_TILE
#undef QJL_TILE_VALUE_TILE
#else
#define QJL_TILE_VALUE_TILE
#endif

#include <cstdint>
#include <cstring>

#include "codebook.hpp"
#include "half.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/key_tile.hpp"
#include "tile/strings.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

using ValueTile = f32x16[16];

// `bits` a number: quad q at bit `offset` + bits * (q - first) of each byte, for `count` quads.
template <int NumLevels, int Bits>
QJL_INLINE void quads(const Levels& levels, u32x16 word, int first, int count, f32x16* tile) {
  QJL_UNROLL
  for (int q = 0; q < count; ++q) {
    QJL_UNROLL
    for (int i = 0; i < 4; ++i) tile[4 * (first + q) + i] = lookup<NumLevels>(levels, word >> (8 * i + Bits * q));
  }
}

// Levels of block `block` of `blocks` of one frame of a sealed page.
template <Code kCode>
  requires(traits(kCode).values == ValueLayout::shared_lines)
QJL_INLINE void value_tile(const std::uint8_t* lines, int block, int, ValueTile& tile) {
  const u32x16 word = load_u32(lines + block / 2 * layout::kLineBytes) >> 4 * (block % 2);
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) {
    QJL_UNROLL
    for (int i = 0; i < 4; ++i) tile[4 * q + i] = sign_of_bit(word, 8 * i + q);
  }
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::lines)
QJL_INLINE void value_tile(const std::uint8_t* lines, int block, int, ValueTile& tile) {
  quads<4, 2>(Levels(kLevels<kCode>.entry), load_u32(lines + block * layout::kLineBytes), 0, 4, tile);
}

template <int NumLevels>
QJL_INLINE void nibble_values(const Levels& levels, const std::uint8_t* lines, ValueTile& tile) {
  quads<NumLevels, 4>(levels, load_u32(lines), 0, 2, tile);
  quads<NumLevels, 4>(levels, load_u32(lines + layout::kLineBytes), 2, 2, tile);
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::triples)
QJL_INLINE void value_tile(const std::uint8_t* lines, int block, int blocks, ValueTile& tile) {
  const Levels levels(kLevels<kCode>.entry);
  const std::uint8_t* pair = lines + block / 2 * 3 * layout::kLineBytes;
  if (block % 2 == 0 && block + 1 == blocks) return nibble_values<8>(levels, pair, tile);
  const u32x16 line0 = load_u32(pair), line1 = load_u32(pair + layout::kLineBytes);
  if (block % 2 == 0) {
    quads<8, 3>(levels, line0, 0, 2, tile);
    quads<8, 3>(levels, line1, 2, 2, tile);
  } else {
    const u32x16 line2 = load_u32(pair + 2 * layout::kLineBytes);
    quads<8, 3>(levels, line2, 0, 2, tile);
    quads<8, 3>(levels, fourth_group(line0, line1, line2), 2, 2, tile);
  }
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::line_pairs)
QJL_INLINE void value_tile(const std::uint8_t* lines, int block, int, ValueTile& tile) {
  nibble_values<16>(Levels(kLevels<kCode>.entry), lines + 2 * block * layout::kLineBytes, tile);
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::strings)
QJL_INLINE void value_tile(const std::uint8_t* lines, int block, int blocks, ValueTile& tile) {
  constexpr int kSteps = value_group(traits(kCode)).steps, kCount = 2 * codebook(kCode).count;
  const auto levels = levels_of<kCount>(kLevels<kCode>);
  const int stretches = blocks / kSteps, stretch = block / kSteps;
  const auto line = [&](int of_stretch, int q, int byte) {
    return load_u32(lines + (of_stretch * layout::string_lines(traits(kCode)) + layout::string_line(traits(kCode), q, byte)) *
                                layout::kLineBytes);
  };
  each_step<kSteps>([&]<int kStep>() __attribute__((always_inline)) {
    if (block % kSteps != kStep) return;
    for (int q = 0; q < 4; ++q) {
      const auto own = [&](int byte) { return line(stretch, q, byte); };
      const auto before = [&](int byte) { return next_lane(own(byte), line((stretch + stretches - 1) % stretches, q, byte)); };
      const u32x16 index = string_indices<kStep>(value_groups<kCode, u32x16>(q, own, before));
      for (int i = 0; i < 4; ++i) tile[4 * q + i] = lookup<kCount>(levels, index >> 8 * i);
    }
  });
}

// The paper's values: min + step * code for 16 channels from `channel` of 16 slots from `slot`.
inline void minmax_values(const layout::PageShape& shape, const layout::BodyLayout& at, const std::uint8_t* body, int slot,
                          int channel, ValueTile& tile) {
  const int d = shape.head_dim, groups = layout::minmax_groups(d);
  for (int j = 0; j < 16; ++j) {
    const std::int64_t pair = (std::int64_t{slot + j} * groups + channel / layout::kMinMaxGroup) * 2;
    std::uint16_t step, minimum;
    std::memcpy(&step, body + at.value_steps + pair, sizeof(step));
    std::memcpy(&minimum, body + at.value_minima + pair, sizeof(minimum));
    std::uint32_t codes;
    std::memcpy(&codes, body + at.values + std::int64_t{slot + j} * (d / 4) + channel / 4, sizeof(codes));
    float level[16];
    for (int c = 0; c < 16; ++c) level[c] = static_cast<float>(codes >> 2 * c & 3u);
    tile[j] = fused_multiply_add(load(level), splat(half_to_float(step)), splat(half_to_float(minimum)));
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
