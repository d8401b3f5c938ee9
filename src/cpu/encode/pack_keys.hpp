// Code words of 16 keys to their bytes of a page: rows of one byte a key, or nibbles of 32-bit words, as page.hpp says.
//
// The keys are those of one value frame, so a row of codes gets one byte of each of its 16 words.
#if defined(QJL_ENCODE_PACK_KEYS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_PACK_KEYS
#undef QJL_ENCODE_PACK_KEYS
#else
#define QJL_ENCODE_PACK_KEYS
#endif

#include <cstdint>

#include "lanes.hpp"
#include "page.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

QJL_INLINE void merge_u32(std::uint8_t* p, u32x16 bits) { store_u32(p, load_u32(p) | bits); }

// One byte of every row for the tokens of frame f: the bits of one word (2-bit codes), or of two (signs).
template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::rows)
inline void pack_keys(Code code, const std::uint32_t* words, int d, int frame, std::uint8_t* keys) {
  constexpr int kBits = traits(kCode).bits;
  const int rows = layout::key_row_bytes(traits(code), d);
  const int half = frame / 4, shift = 8 * (frame % 4), gap = 8 - kBits;
  const auto bits = [&](int word) {
    const u32x16 w = load_u32(words + word * 16);
    return (w | w >> gap | w >> 2 * gap | w >> 3 * gap) & splat_u32((1u << 4 * kBits) - 1);
  };
  for (int row = 0; row < rows; ++row) {
    const u32x16 byte = kBits == 2 ? bits(row) : bits(2 * row) | bits(2 * row + 1) << 4;
    merge_u32(keys + layout::key_row_offset(rows, half, row), byte << shift);
  }
}

// Four 6-bit groups of two coordinates in three rows; the fourth group lies in the top two bits of the rows.
template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::triples)
inline void pack_keys(Code code, const std::uint32_t* words, int d, int frame, std::uint8_t* keys) {
  const int rows = layout::key_row_bytes(traits(code), d), half = frame / 4, shift = 8 * (frame % 4);
  const int gap = 8 - traits(kCode).bits;
  const u32x16 low = splat_u32(63);
  for (int triple = 0; triple < d / 8; ++triple) {
    const u32x16 first = load_u32(words + 2 * triple * 16), second = load_u32(words + (2 * triple + 1) * 16);
    const u32x16 a = first | first >> gap, b = second | second >> gap, fourth = b >> 16 & low;
    const u32x16 group[3] = {a & low, a >> 16 & low, b & low};
    for (int r = 0; r < 3; ++r) {
      const u32x16 byte = group[r] | (fourth >> 2 * r & splat_u32(3)) << 6;
      merge_u32(keys + layout::key_row_offset(rows, half, 3 * triple + r), byte << shift);
    }
  }
}

template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::words)
inline void pack_keys(Code, const std::uint32_t* words, int d, int frame, std::uint8_t* keys) {
  for (int word = 0; word < d / 8; ++word) {
    const u32x16 low = load_u32(words + 2 * word * 16), high = load_u32(words + (2 * word + 1) * 16);
    store_u32(keys + layout::key_word_offset(d, frame / 4, word, frame % 4), low | high << 4);
  }
}

// The new bits of each step, in a row.
template <Code kCode>
  requires(traits(kCode).keys == KeyLayout::strings)
inline void pack_keys(Code, const std::uint32_t* words, int d, int frame, std::uint8_t* keys) {
  constexpr int kSteps = key_group(traits(kCode)).steps, kBytes = key_group(traits(kCode)).bytes, kBits = traits(kCode).bits;
  for (int word = 0; word < d / (4 * kSteps); ++word) {
    u32x16 byte[kBytes];
    for (u32x16& each : byte) each = splat_u32(0);
    QJL_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      const u32x16 bits = load_u32(words + (word * kSteps + step) * 16);
      const int at = kBits * step;
      byte[at / 8] = byte[at / 8] | (bits << at % 8 & splat_8(0xff << at % 8));
      if (at % 8 + kBits > 8) byte[at / 8 + 1] = byte[at / 8 + 1] | (bits >> (8 - at % 8) & splat_8(0xff >> (8 - at % 8)));
    }
    std::uint8_t* lines = keys + layout::key_string_offset(traits(kCode), d, frame / 4, word, frame % 4);
    for (int p = 0; p < kBytes; ++p) store_u32(lines + p * layout::kLineBytes, byte[p]);
  }
}

inline void pack_keys(Code code, const std::uint32_t* words, int d, int frame, std::uint8_t* keys) {
  with_key_frame_code(code, [&]<Code kCode>() { pack_keys<kCode>(code, words, d, frame, keys); });
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
