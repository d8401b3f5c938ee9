// Code words of 16 values to their lines of a page: 32-bit words of 4 tokens a byte, per 16 channels, as page.hpp says.
#if defined(QJL_ENCODE_PACK_VALUES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_PACK_VALUES
#undef QJL_ENCODE_PACK_VALUES
#else
#define QJL_ENCODE_PACK_VALUES
#endif

#include <algorithm>
#include <cstdint>

#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// The codes of 16 tokens in four blocks of 16 channels: byte r of lane l = channel 16 r + l.
using Tokens = u32x16[16];

// Lines of the four blocks from four registers of tokens: out[r] has in byte i of lane l the byte r of lane l of token[i].
struct Lines {
  u32x16 block[4];
};
QJL_INLINE Lines turn_bytes(const u32x16& t0, const u32x16& t1, const u32x16& t2, const u32x16& t3) {
  const u32x16 even = splat_u32(0x00ff00ffu), odd = splat_u32(0xff00ff00u), low = splat_u32(0xffffu), high = splat_u32(0xffff0000u);
  const u32x16 even01 = (t0 & even) | (t1 & even) << 8, odd01 = (t0 & odd) >> 8 | (t1 & odd);
  const u32x16 even23 = (t2 & even) | (t3 & even) << 8, odd23 = (t2 & odd) >> 8 | (t3 & odd);
  return {
      {(even01 & low) | even23 << 16, (odd01 & low) | odd23 << 16, even01 >> 16 | (even23 & high), odd01 >> 16 | (odd23 & high)}};
}

// `count` quads of tokens from quad `first` on, each shifted `width` above the one before. Token 4 q + i is in byte i.
template <int Count>
QJL_INLINE Lines quads(const Tokens& token, int first, int width) {
  u32x16 sum[4];
  for (int i = 0; i < 4; ++i) {
    sum[i] = token[4 * first + i];
    for (int q = 1; q < Count; ++q) sum[i] = sum[i] | token[4 * (first + q) + i] << q * width;
  }
  return turn_bytes(sum[0], sum[1], sum[2], sum[3]);
}

// Up to four blocks; returns the lines written.
template <Code kCode>
  requires(traits(kCode).values == ValueLayout::shared_lines)
inline int pack_blocks(const Tokens& token, int blocks, std::uint8_t* lines) {
  const Lines all = quads<4>(token, 0, traits(kCode).bits);
  for (int block = 0; block < blocks; block += 2) {  // missing blocks are zero
    store_u32(lines + block / 2 * layout::kLineBytes, all.block[block] | all.block[block + 1] << 4);
  }
  return (blocks + 1) / 2;
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::lines)
inline int pack_blocks(const Tokens& token, int blocks, std::uint8_t* lines) {
  const Lines all = quads<4>(token, 0, traits(kCode).bits);
  for (int block = 0; block < blocks; ++block) store_u32(lines + block * layout::kLineBytes, all.block[block]);
  return blocks;
}

// Two blocks share three lines: groups 0 and 1 are the first block's, 2 and 3 the second's; group 3 lies in the top bits. An odd
// last block has nibbles instead.
template <Code kCode>
  requires(traits(kCode).values == ValueLayout::triples)
inline int pack_blocks(const Tokens& token, int blocks, std::uint8_t* lines) {
  const Lines low = quads<2>(token, 0, 3), high = quads<2>(token, 2, 3);
  for (int pair = 0; pair < blocks / 2; ++pair) {
    const u32x16 group[3] = {low.block[2 * pair], high.block[2 * pair], low.block[2 * pair + 1]};
    const u32x16 fourth = high.block[2 * pair + 1];
    for (int line = 0; line < 3; ++line) {
      const u32x16 top = (fourth >> 2 * line & splat_8(3)) << 6;
      store_u32(lines + (3 * pair + line) * layout::kLineBytes, group[line] | top);
    }
  }
  if (blocks % 2 == 0) return blocks / 2 * 3;
  const Lines first = quads<2>(token, 0, 4), second = quads<2>(token, 2, 4);
  std::uint8_t* alone = lines + blocks / 2 * 3 * layout::kLineBytes;
  store_u32(alone, first.block[blocks - 1]);
  store_u32(alone + layout::kLineBytes, second.block[blocks - 1]);
  return blocks / 2 * 3 + 2;
}

template <Code kCode>
  requires(traits(kCode).values == ValueLayout::line_pairs)
inline int pack_blocks(const Tokens& token, int blocks, std::uint8_t* lines) {
  const Lines low = quads<2>(token, 0, traits(kCode).bits), high = quads<2>(token, 2, traits(kCode).bits);
  for (int block = 0; block < blocks; ++block) {
    store_u32(lines + 2 * block * layout::kLineBytes, low.block[block]);
    store_u32(lines + (2 * block + 1) * layout::kLineBytes, high.block[block]);
  }
  return 2 * blocks;
}

// The four blocks are the four steps of a group.
template <Code kCode>
  requires(traits(kCode).values == ValueLayout::strings)
inline int pack_blocks(const Tokens& token, int, std::uint8_t* lines) {
  constexpr int kBits = traits(kCode).bits;
  constexpr StringGroup kGroup = value_group(traits(kCode));
  Tokens group;
  for (int j = 0; j < 16; ++j) {
    group[j] = splat_u32(0);
    QJL_UNROLL
    for (int step = 0; step < kGroup.steps; ++step) {
      group[j] = group[j] | (token[j] >> (8 - kBits) * step & splat_u32(((1u << kBits) - 1) << kBits * step));
    }
  }
  const auto byte_of = [&group](int q, int byte) {
    const u32x16* four = group + 4 * q;
    const auto part = [&](int i) { return four[i] >> 8 * byte & splat_u32(255); };
    return part(0) | part(1) << 8 | part(2) << 16 | part(3) << 24;
  };
  for (int q = 0; q < 4; ++q) {
    for (int byte = 0; byte < kGroup.bytes; ++byte) {
      std::uint8_t* line = lines + layout::string_line(traits(kCode), q, byte) * layout::kLineBytes;
      const bool of_two = kGroup.nibble && byte + 1 == kGroup.bytes && q % 2 != 0;
      store_u32(line, of_two ? load_u32(line) | byte_of(q, byte) << 4 : byte_of(q, byte));
    }
  }
  return layout::string_lines(traits(kCode));
}

// words [words][16 tokens] of one frame -> its lines.
inline void pack_values(Code code, const std::uint32_t* words, int channels, std::uint8_t* lines) {
  for (int first = 0; first < channels; first += 64) {
    f32x16 lane[16];
    Tokens token;
    for (int w = 0; w < 16; ++w) lane[w] = as_f32(load_u32(words + (first / 4 + w) * 16));
    transpose16(lane);
    for (int j = 0; j < 16; ++j) token[j] = as_u32(lane[j]);
    const int blocks = std::min(4, (channels - first) / 16);
    lines +=
        with_value_frame_code(code, [&]<Code kCode>() { return pack_blocks<kCode>(token, blocks, lines); }) * layout::kLineBytes;
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
