// docs/format.md, made from the layout itself: the head's fields, where each part of a body stands for every preset and head_dim,
// and the bit orders worked out on one token. No number of the document is typed here that page.hpp could give.
#include "format_doc.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <sstream>

#include "codebook.hpp"
#include "codec_tables.hpp"
#include "qjl/codec.hpp"

namespace qjl {
namespace {

using layout::kHeadDims;
constexpr std::array kPresets = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "f16", "paper"};

struct Part {
  const char* name;
  const char* what;
  std::int64_t layout::BodyLayout::* offset;
};
// In the order of the body; a part ends where the next begins.
constexpr std::array<Part, 12> kParts = {{
    {"mean", "int8 [head_dim], before RoPE, zero to a line", &layout::BodyLayout::mean},
    {"key scales", "u8 [128 slots]", &layout::BodyLayout::key_scales},
    {"value scales", "u8 [128 slots]", &layout::BodyLayout::value_scales},
    {"outlier channels", "u8 [outliers], ascending, zero to a line", &layout::BodyLayout::outlier_idx},
    {"key norms", "fp16 [128 slots]", &layout::BodyLayout::key_norms},
    {"outlier norms", "fp16 [128 slots]", &layout::BodyLayout::outlier_norms},
    {"value steps", "fp16 [128 slots][groups of 32 channels]", &layout::BodyLayout::value_steps},
    {"value minima", "fp16 [128 slots][groups of 32 channels]", &layout::BodyLayout::value_minima},
    {"keys", "codes, see below", &layout::BodyLayout::keys},
    {"outlier keys", "signs [128 slots][rows / 8]", &layout::BodyLayout::outlier_keys},
    {"values", "codes, see below", &layout::BodyLayout::values},
    {"end", "", &layout::BodyLayout::bytes},
}};

void write_head(std::ostringstream& out) {
  out << "# The page format, version " << layout::kFormatVersion << "\n\n"
      << "Made by `tools/format_doc/format_doc.cpp` from `src/shared/page.hpp`; a test compares. All numbers are little-endian,\n"
      << "bits are counted from the least significant.\n\n"
      << "A page holds the keys and values of " << layout::kPageTokens << " tokens of one kv head of one layer: a head of "
      << sizeof(layout::PageHead) << " bytes and a body of whole\n"
      << layout::kLineBytes << "-byte lines. It starts at a position that is a multiple of " << layout::kPageTokens
      << " and never changes once sealed.\n\n"
      << "## Head\n\n| offset | bytes | field |\n|--:|--:|---|\n";
  const auto field = [&out](std::size_t offset, std::size_t bytes, const char* what) {
    out << "| " << offset << " | " << bytes << " | " << what << " |\n";
  };
  using Head = layout::PageHead;
  field(offsetof(Head, format_version), sizeof(Head::format_version), "format version");
  field(offsetof(Head, key_code), sizeof(Head::key_code), "key code (number below)");
  field(offsetof(Head, value_code), sizeof(Head::value_code), "value code");
  field(offsetof(Head, num_sinks), sizeof(Head::num_sinks),
        "sinks: the first tokens of the page that are kept exactly elsewhere; their scales and codes are zero");
  field(offsetof(Head, mean_scale), sizeof(Head::mean_scale), "mean scale, fp32: mean[c] = scale * int8; 0 without a mean");
  field(offsetof(Head, key_scale_max), sizeof(Head::key_scale_max), "largest key scale, fp32");
  field(offsetof(Head, value_scale_max), sizeof(Head::value_scale_max), "largest value scale, fp32");
  out << "\nA scale byte c stands for max * 2^((c - 255) / 32); c = 0 stands for 0.\n\n"
      << "## Codes\n\n| number | name | bits a coordinate | frames | levels |\n|--:|---|--:|--:|---|\n";
  for (int number = 0; number < kNumCodes; ++number) {
    const Code code{static_cast<std::uint8_t>(number)};
    out << "| " << number << " | " << code_name(code) << " | ";
    switch (traits(code).book) {
      case Book::exact: out << "16 | | the 16-bit numbers themselves |\n"; break;
      case Book::signs:
      case Book::levels:
      case Book::fine:
      case Book::trellis:
        out << traits(code).bits << " | " << traits(code).frames << " |";
        for (int i = 0; i < 2 * codebook(code).count; ++i) out << ' ' << level_of(code, i);
        out << " |\n";
        break;
      case Book::sketch: out << "rows / head_dim | | signs of the sketch, 1 is minus (keys only) |\n"; break;
      case Book::minmax: out << "2 | | minimum + step * code (values only) |\n"; break;
    }
  }
}

void write_mean(std::ostringstream& out) {
  const int knots = layout::kMeanKnots - 1;
  out << "## The mean and RoPE\n\n"
      << "The mean is that of the keys before RoPE turned them, relative to the middle of the page. It predicts of token "
      << layout::kKnotTokens << " j + f\n\n"
      << "    M_j + f / " << layout::kKnotTokens << " (M_(j+1) - M_j),   M_n = R(" << layout::kKnotTokens << " n - "
      << -layout::knot_position(0) << ") mean,   n = 0 .. " << knots << "\n\n"
      << "where R(p) turns RoPE's pair i by p * frequency[i]. A pair that turns by less than " << layout::kStillTurn
      << " in half a page counts as still\n(R = 1, as for a channel of no pair); one that turns by more than pi / 2 between two "
         "knots "
         "has no mean (zeros). Frequencies\nand pairs belong to the model, as the seed belongs to the cache; a page does not hold "
         "them.\n\n";
}

void write_slots(std::ostringstream& out) {
  out << "\nLevels are listed by code, from 0 up. A rotated value is scale * sum over its frames f of P_f^T level[code];\n"
      << "a rotated key is that and what the mean predicts of it.\n\n";
  write_mean(out);
  out << "## Slots\n\nToken t of a page stands in slot " << layout::kFrameSlots << " * (t mod " << layout::kFrames << ") + t div "
      << layout::kFrames << ": all tokens of one value frame (t mod " << layout::kFrames << ") side by side.\n\n| token |";
  constexpr std::array kTokens = {0, 1, 7, 8, 75, 127};
  for (int token : kTokens) out << ' ' << token << " |";
  out << "\n|---|--:|--:|--:|--:|--:|--:|\n| slot |";
  for (int token : kTokens) out << ' ' << layout::slot_of_token(token) << " |";
  out << '\n';
}

void write_offsets(std::ostringstream& out, const char* preset) {
  out << "\n### " << preset << "\n\n| part | |";
  for (int d : kHeadDims) out << ' ' << d << " |";
  out << "\n|---|---|--:|--:|--:|--:|--:|\n";
  std::array<layout::PageShape, std::size(kHeadDims)> shapes;
  for (std::size_t i = 0; i < shapes.size(); ++i) shapes[i] = page_shape(kHeadDims[i], codec_config(preset), DType::f16);
  for (std::size_t part = 0; part + 1 < kParts.size(); ++part) {
    std::ostringstream row;
    bool present = false;
    for (const layout::PageShape& shape : shapes) {
      const layout::BodyLayout body = layout::body_layout(shape);
      const std::int64_t begin = body.*kParts[part].offset, bytes = body.*kParts[part + 1].offset - begin;
      present = present || bytes > 0;
      row << ' ' << begin << " (" << bytes << ") |";
    }
    if (present) out << "| " << kParts[part].name << " | " << kParts[part].what << " |" << row.str() << '\n';
  }
  out << "| body | |";
  for (const layout::PageShape& shape : shapes) out << ' ' << layout::body_layout(shape).bytes << " |";
  out << "\n| page with head | |";
  for (const layout::PageShape& shape : shapes) out << ' ' << layout::page_bytes(shape) << " |";
  out << "\n| bits a number | |";
  for (const layout::PageShape& shape : shapes) {
    char bits[32];
    const double numbers = 2.0 * layout::kPageTokens * shape.head_dim;
    std::snprintf(bits, sizeof(bits), "%.3f", 8.0 * static_cast<double>(layout::page_bytes(shape)) / numbers);
    out << ' ' << bits << " |";
  }
  out << '\n';
}

// Where a coordinate of a code is: byte offset in its part, then the bits, least significant first, as "byte.bit".
struct Place {
  std::ostringstream text;
  void add(std::int64_t byte, int first_bit, int bits) {
    for (int bit = 0; bit < bits; ++bit) text << (text.str().empty() ? "" : " ") << byte << '.' << first_bit + bit;
  }
};

// Byte of token t inside a 64-byte row of one half: 4 * lane + frame mod 4.
int byte_in_row(int token) { return 4 * (token / layout::kFrames) + token % layout::kFrames % 4; }

// The new bits of a step of the group whose first byte is `byte`; its next bytes are lines apart.
void add_step(Place& place, Code code, int step, std::int64_t byte) {
  const int bits = traits(code).bits;
  for (int bit = bits * step; bit < bits * (step + 1); ++bit) place.add(byte + bit / 8 * layout::kLineBytes, bit % 8, 1);
}

std::string key_place(Code code, int d, int token, int c) {
  Place place;
  const int half = token % layout::kFrames / 4, byte = byte_in_row(token), rows = layout::key_row_bytes(traits(code), d);
  const int bits = traits(code).bits;
  switch (traits(code).keys) {
    case KeyLayout::none:
    case KeyLayout::slots: break;  // not shown
    case KeyLayout::rows: {
      const int per_row = 8 / bits;
      place.add(layout::key_row_offset(rows, half, c / per_row) + byte, bits * (c % per_row), bits);
      break;
    }
    case KeyLayout::triples: {
      const int triple = c / 8, group = c % 8 / 2, high = 3 * (c % 2);
      for (int bit = high; bit < high + 3; ++bit) {
        const int row = 3 * triple + (group < 3 ? group : bit / 2), position = group < 3 ? bit : 6 + bit % 2;
        place.add(layout::key_row_offset(rows, half, row) + byte, position, 1);
      }
      break;
    }
    case KeyLayout::words: {
      const int frame = token % layout::kFrames % 4;
      place.add(layout::key_word_offset(d, half, c / 8, frame) + 4 * (token / layout::kFrames) + c % 4, 4 * (c / 4 % 2), 4);
      break;
    }
    case KeyLayout::strings: {
      if (!layout::fits_keys(traits(code), d)) return "does not fit";
      const int numbers = 4 * key_group(traits(code)).steps, frame = token % layout::kFrames % 4;
      const std::int64_t word = layout::key_string_offset(traits(code), d, half, c / numbers, frame);
      add_step(place, code, c % numbers / 4, word + 4 * (token / layout::kFrames) + c % 4);
      break;
    }
  }
  return place.text.str();
}

std::string value_place(Code code, int d, int token, int c) {
  Place place;
  const int blocks = d * traits(code).frames / 16;
  const int j = token / layout::kFrames, q = j / 4, block = c / 16;
  const bool alone = blocks % 2 == 1 && block + 1 == blocks;
  const std::int64_t frame =
      std::int64_t{token % layout::kFrames} * layout::value_lines_per_frame(traits(code), d) * layout::kLineBytes;
  const std::int64_t byte = frame + 4 * (c % 16) + j % 4;
  const auto line = [byte](int number) { return byte + std::int64_t{number} * layout::kLineBytes; };
  switch (traits(code).values) {
    case ValueLayout::none:
    case ValueLayout::slots: break;  // not shown
    case ValueLayout::shared_lines: place.add(line(block / 2), 4 * (block % 2) + q, 1); break;
    case ValueLayout::lines: place.add(line(block), 2 * q, 2); break;
    case ValueLayout::triples: {
      const int group = 2 * (block % 2) + q / 2;
      if (alone) place.add(line(block / 2 * 3 + q / 2), 4 * (q % 2), 3);
      for (int bit = 3 * (q % 2); !alone && bit < 3 * (q % 2) + 3; ++bit) {
        place.add(line(block / 2 * 3 + (group < 3 ? group : bit / 2)), group < 3 ? bit : 6 + bit % 2, 1);
      }
      break;
    }
    case ValueLayout::line_pairs: place.add(line(2 * block + q / 2), 4 * (q % 2), 4); break;
    case ValueLayout::strings: {
      if (!layout::fits_values(traits(code), d)) return "does not fit";
      const StringGroup group = value_group(traits(code));
      for (int bit = traits(code).bits * (block % group.steps), end = bit + traits(code).bits; bit < end; ++bit) {
        const bool nibble = group.nibble && bit / 8 + 1 == group.bytes;
        const int stretch = block / group.steps * layout::string_lines(traits(code));
        place.add(line(stretch + layout::string_line(traits(code), q, bit / 8)), bit % 8 + (nibble ? 4 * (q % 2) : 0), 1);
      }
      break;
    }
  }
  return place.text.str();
}

// The codes for which has(traits): "`s1`, `s2`".
template <typename Has>
std::string codes_with(const Has& has) {
  std::string names;
  for (int number = 0; number < kNumCodes; ++number) {
    const CodeTraits code = traits(static_cast<Code>(number));
    if (has(code)) names += std::string(names.empty() ? "`" : ", `") + code.name + "`";
  }
  return names;
}
std::string codes_with(KeyLayout layout, Book book) {
  return codes_with([&](const CodeTraits& code) { return code.keys == layout && code.book == book; });
}
std::string codes_with(KeyLayout layout) {
  return codes_with([&](const CodeTraits& code) { return code.keys == layout; });
}
std::string codes_with(ValueLayout layout) {
  return codes_with([&](const CodeTraits& code) { return code.values == layout; });
}

void write_strings(std::ostringstream& out) {
  out << "\n## Strings\n\n"
      << "The numbers of a token in these codes are one string of k head_dim bits, k bits a step. The window of step s is the L "
         "bits\n"
      << "that end with its own: bits k (s + 1) - L .. k (s + 1) - 1 of the string, modulo its length; its number is the level "
         "whose\n"
      << "index is the exclusive or of column b over the set bits b of the window, the oldest bit first. Levels are in the table "
         "above,\n"
      << "index 0 first. Every string is a token. A group of keys is S steps in B bytes, of values four steps in k / 2 bytes and, "
         "of "
         "an\nodd k, a nibble; filled from the least significant bit.\n\n"
      << "| code | k | L | S | B | columns |\n|---|--:|--:|--:|--:|---|\n";
  for (int number = 0; number < kNumCodes; ++number) {
    const Code code{static_cast<std::uint8_t>(number)};
    if (trellis(code).window_bits == 0) continue;
    out << "| " << code_name(code) << " | " << traits(code).bits << " | " << trellis(code).window_bits << " | "
        << key_group(traits(code)).steps << " | " << key_group(traits(code)).bytes << " |";
    for (int b = 0; b < trellis(code).window_bits; ++b) out << ' ' << int{trellis(code).column[b]};
    out << " |\n";
  }
}

void write_rules(std::ostringstream& out) {
  out << "\n## Order of the key codes\n\n"
      << "A half of the page is four frames (half h: frames 4h .. 4h+3). A row is one byte for each of its 64 tokens:\n"
      << "byte 4 j + (f mod 4) for token 8 j + f. Rows come in triples: [triple][half][3 rows], the rest as [half][row].\n\n"
      << "* " << codes_with(KeyLayout::rows, Book::signs)
      << ": row r, bit k = sign 8 r + k (frame 1 first, then frame 2), 1 is minus.\n"
      << "* " << codes_with(KeyLayout::rows, Book::levels) << ": row r, bits 2 k, 2 k + 1 = coordinate 4 r + k.\n"
      << "* " << codes_with(KeyLayout::triples, Book::levels)
      << ": a triple T holds coordinates 8 T .. 8 T + 7 as four 6-bit groups of two, low one first: groups 0, 1, 2 are\n"
      << "  the low six bits of the three rows; group 3 is their top two bits, in order.\n"
      << "* " << codes_with(KeyLayout::words, Book::levels)
      << ": [half][word w][frame mod 4][j] 32-bit words; byte i = coordinate 8 w + i (low nibble) and 8 w + 4 + i (high).\n"
      << "* " << codes_with(KeyLayout::strings)
      << ": [half][word w][frame mod 4][byte p of B][j] 32-bit words; byte i = byte p of group 4 w + i of the token's string\n"
      << "  (above); step c of it is coordinate 4 S w + 4 c + i. head_dim is a multiple of 4 S.\n"
      << "* `f16`: [slot][head_dim]. `jl`: [slot][rows / 8], bit k of byte r = sign 8 r + k.\n\n"
      << "## Order of the value codes\n\n"
      << "Per frame f, per block of 16 channels (two frames count as 2 * head_dim channels): a line of 16 words, one a channel;\n"
      << "byte i of a word holds the tokens j = 4 q + i of the frame, q = 0 .. 3.\n\n"
      << "* 1 bit (" << codes_with(ValueLayout::shared_lines)
      << "): two blocks share a line: bits 0-3 = q of the first, bits 4-7 = q of the second.\n"
      << "* 2 bits (" << codes_with(ValueLayout::lines) << "): one line a block, bits 2 q, 2 q + 1.\n"
      << "* 3 bits (" << codes_with(ValueLayout::triples)
      << "): two blocks share three lines, four 6-bit groups as in keys: groups 0, 1 = quads (0, 1), (2, 3) of\n"
      << "  the first block, groups 2, 3 of the second. A last block without a partner is written as nibbles.\n"
      << "* 4 bits (" << codes_with(ValueLayout::line_pairs) << "): two lines a block, q = 2 * line + nibble.\n"
      << "* strings (" << codes_with(ValueLayout::strings)
      << "): four blocks have 2 k lines: [q][byte p < k / 2], byte i of word l = byte p of group 16 n + l, n counting\n"
      << "  these stretches; step c of it is channel l of their block c. Then, of an odd k, [q / 2]: the groups' nibbles, of an "
         "odd "
         "q\n  in the high bits. head_dim is a multiple of 64.\n"
      << "* `f16`: [slot][head_dim]. `minmax`: [slot][head_dim / 4], channel c = bits 2 (c mod 4) and up of byte c div 4.\n";
}

void write_examples(std::ostringstream& out) {
  constexpr int kToken = 75, kDim = 80, kCoordinate = 78;
  out << "\n## Worked examples\n\nToken " << kToken << " (frame " << kToken % layout::kFrames
      << ", j = " << kToken / layout::kFrames << ", slot " << layout::slot_of_token(kToken) << ") with head_dim " << kDim
      << ". A place is byte.bit; bytes count from the start of\n"
      << "the keys or of the values; the least significant bit of the code comes first.\n\n"
      << "| code | key, coordinate 5 | key, coordinate " << kCoordinate << " | value, channel 5 | value, channel " << kCoordinate
      << " |\n|---|---|---|---|---|\n";
  for (int number = 0; number < kNumCodes; ++number) {
    const Code code{static_cast<std::uint8_t>(number)};
    if (!is_rotated(code)) continue;
    out << "| " << code_name(code) << " | " << key_place(code, kDim, kToken, 5) << " | "
        << key_place(code, kDim, kToken, kCoordinate) << " | " << value_place(code, kDim, kToken, 5) << " | "
        << value_place(code, kDim, kToken, kCoordinate) << " |\n";
  }
}

}  // namespace

std::string page_format_markdown() {
  std::ostringstream out;
  write_head(out);
  write_slots(out);
  out << "\n## Parts of a body\n\nOffset in bytes (size in bytes), by head_dim; parts that a cache type lacks are left out.\n";
  for (const char* preset : kPresets) write_offsets(out, preset);
  write_strings(out);
  write_rules(out);
  write_examples(out);
  return out.str();
}

}  // namespace qjl
