// Decodes keys into tiles [coordinate][64 tokens] of fp32, from which scores are a matrix product.
//
//   sealed, half h of a page:  column 16 i + j = slot of frame 4h + i, token 8 j + 4h + i; levels, or +-1
//
// A row of codes read as 16 words has lane = j and byte i = frame 4h + i (page.hpp), so a level is one shift and one look-up.
#if defined(QJL_TILE_KEY_TILE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_KEY_TILE
#undef QJL_TILE_KEY_TILE
#else
#define QJL_TILE_KEY_TILE
#endif

#include <cstdint>

#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/block.hpp"
#include "tile/strings.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// A stretch of coordinates, multiples of 8.
struct Stretch {
  int first, count;
};

// Codes of one frame whose rows are whole coordinates of so many bits, by what these stand for.
template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::rows && traits(kCode).book == Book::signs)
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  const int num_rows = layout::key_row_bytes(shape.key, shape.head_dim);
  for (int row = 0; row < stretch.count / 8; ++row) {
    const u32x16 word = load_u32(keys + layout::key_row_offset(num_rows, half, stretch.first / 8 + row));
    float* out = tile + 8 * row * kBlockTokens;
    for (int k = 0; k < 8; ++k) {
      for (int i = 0; i < 4; ++i) store(out + k * kBlockTokens + 16 * i, sign_of_bit(word, 8 * i + k));
    }
  }
}

template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::rows && traits(kCode).book == Book::levels)
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  constexpr int kBits = traits(kCode).bits, kNumbers = 8 / kBits;
  const int num_rows = layout::key_row_bytes(traits(kCode), shape.head_dim);
  const Levels levels(kLevels<kCode>.entry);
  for (int row = 0; row < stretch.count / kNumbers; ++row) {
    const u32x16 word = load_u32(keys + layout::key_row_offset(num_rows, half, stretch.first / kNumbers + row));
    float* out = tile + kNumbers * row * kBlockTokens;
    for (int k = 0; k < kNumbers; ++k) {
      for (int i = 0; i < 4; ++i) {
        store(out + k * kBlockTokens + 16 * i, lookup<1 << kBits>(levels, word >> (8 * i + kBits * k)));
      }
    }
  }
}

// Two coordinates from each 6-bit group of the four frames.
QJL_INLINE void group_tile(const Levels& levels, u32x16 group, float* out) {
  for (int k = 0; k < 2; ++k) {
    for (int i = 0; i < 4; ++i) store(out + k * kBlockTokens + 16 * i, lookup<8>(levels, group >> (8 * i + 3 * k)));
  }
}

// The fourth group of a triple of rows: their top two bits.
QJL_INLINE u32x16 fourth_group(u32x16 row0, u32x16 row1, u32x16 row2) {
  return (row0 >> 6 & splat_u32(0x03030303u)) | (row1 >> 4 & splat_u32(0x0c0c0c0cu)) | (row2 >> 2 & splat_u32(0x30303030u));
}

template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::triples)
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  const int num_rows = layout::key_row_bytes(traits(kCode), shape.head_dim);
  const Levels levels(kLevels<kCode>.entry);
  for (int triple = 0; triple < stretch.count / 8; ++triple) {
    const std::uint8_t* rows = keys + layout::key_row_offset(num_rows, half, 3 * (stretch.first / 8 + triple));
    const u32x16 row0 = load_u32(rows), row1 = load_u32(rows + layout::kLineBytes), row2 = load_u32(rows + 2 * layout::kLineBytes);
    float* out = tile + 8 * triple * kBlockTokens;
    group_tile(levels, row0, out);
    group_tile(levels, row1, out + 2 * kBlockTokens);
    group_tile(levels, row2, out + 4 * kBlockTokens);
    group_tile(levels, fourth_group(row0, row1, row2), out + 6 * kBlockTokens);
  }
}

template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::words)
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  const int d = shape.head_dim;
  const Levels levels(kLevels<kCode>.entry);
  for (int word = 0; word < stretch.count / 8; ++word) {
    float* out = tile + 8 * word * kBlockTokens;
    for (int i = 0; i < 4; ++i) {
      const u32x16 nibbles = load_u32(keys + layout::key_word_offset(d, half, stretch.first / 8 + word, i));
      for (int k = 0; k < 8; ++k) {
        store(out + k * kBlockTokens + 16 * i, lookup<16>(levels, nibbles >> (8 * (k % 4) + 4 * (k / 4))));
      }
    }
  }
}

// A stretch of whole words.
template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::strings)
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  constexpr StringGroup kGroup = key_group(traits(kCode));
  constexpr int kBytes = kGroup.bytes, kNumbers = 4 * kGroup.steps;  // of a word
  constexpr int kCount = 2 * codebook(kCode).count;
  const int d = shape.head_dim, words = d / kNumbers;
  const auto levels = levels_of<kCount>(kLevels<kCode>);
  const auto line = [&](int word, int frame, int byte) {
    return load_u32(keys + layout::key_string_offset(traits(kCode), d, half, word, frame) + byte * layout::kLineBytes);
  };
  for (int frame = 0; frame < 4; ++frame) {
    const int first = stretch.first / kNumbers;
    u32x16 last = line((first + words - 1) % words, frame, kBytes - 1);
    for (int word = 0; word < stretch.count / kNumbers; ++word) {
      KeyGroups<kCode, u32x16> groups;
      for (int byte = 0; byte < kBytes; ++byte) groups.own[byte] = line(first + word, frame, byte);
      groups.before = groups.own[kBytes - 1] << 8 | last >> 24;
      last = groups.own[kBytes - 1];
      float* out = tile + kNumbers * word * kBlockTokens + 16 * frame;
      each_step<kGroup.steps>([&]<int kStep>() __attribute__((always_inline)) {
        const u32x16 index = string_indices<kStep>(groups);
        for (int i = 0; i < 4; ++i) store(out + (4 * kStep + i) * kBlockTokens, lookup<kCount>(levels, index >> 8 * i));
      });
    }
  }
}

// Signs of a sketch: rows of `row_bytes` bytes a slot.
inline void sketch_tile(const std::uint8_t* bits, int row_bytes, int half, Stretch stretch, float* tile) {
  for (int byte = 0; byte < stretch.count / 8; ++byte) {
    for (int i = 0; i < 4; ++i) {
      const std::uint8_t* column = bits + std::int64_t{layout::kHalfSlots * half + 16 * i} * row_bytes + stretch.first / 8 + byte;
      std::uint32_t lane[16];
      for (int j = 0; j < 16; ++j) lane[j] = column[std::int64_t{j} * row_bytes];
      const u32x16 word = load_u32(lane);
      for (int k = 0; k < 8; ++k) store(tile + (8 * byte + k) * kBlockTokens + 16 * i, sign_of_bit(word, k));
    }
  }
}

// The keys of half a page, in a rotated code.
inline void key_tile(const layout::PageShape& shape, const std::uint8_t* keys, int half, Stretch stretch, float* tile) {
  with_key_frame_code(shape.key_code, [&]<Code kCode>() { key_tile<kCode>(shape, keys, half, stretch, tile); });
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
