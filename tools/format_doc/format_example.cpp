// docs/format_example.md, made from a page that PageCodec writes: one token of it, its numbers, its bytes and what they mean.
//
//   key    k -> x = k - mean -> y = P x -> code index of each coordinate -> two bits of a byte    and back: mean + s P^T level
//   value  v ->                 y = P_f v -> code index                  -> two bits of a byte    and back:        s P_f^T level
//
// Every number of the document is read from the page's bytes or worked out here, and compared with PageCodec at the end.
#include "format_example.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "codebook.hpp"
#include "codec_tables.hpp"
#include "estimator.hpp"
#include "qjl/codec.hpp"

namespace qjl {
namespace {

constexpr const char* kCacheType = "kl4vl4";
constexpr int kDim = 64, kToken = 75, kShown = 8;
constexpr int kFrame = kToken % layout::kFrames, kLane = kToken / layout::kFrames, kSlot = layout::slot_of_token(kToken);
constexpr int kHalf = kFrame / 4, kByteOfRow = 4 * kLane + kFrame % 4;

using Numbers = std::vector<double>;  // [kDim]

// Any numbers would do; these need no file.
float key_number(int token, int channel) { return static_cast<float>((7 * token + 13 * channel + token * channel) % 31 - 10) / 8; }
float value_number(int token, int channel) { return static_cast<float>((5 * token + 3 * channel * channel) % 29 - 14) / 16; }

std::vector<float> rows_of(float (*number)(int, int)) {
  std::vector<float> rows;
  for (int token = 0; token < layout::kPageTokens; ++token) {
    for (int channel = 0; channel < kDim; ++channel) rows.push_back(number(token, channel));
  }
  return rows;
}

// P x = H D1 H D2 x / d, or P^T y = D2 H D1 H y / d.
struct Frame {
  const float *in, *mid;

  static Numbers hadamard(const Numbers& x) {
    Numbers y(kDim);
    for (int i = 0; i < kDim; ++i) {
      for (int k = 0; k < kDim; ++k) y[i] += std::popcount(static_cast<unsigned>(i & k)) % 2 == 0 ? x[k] : -x[k];
    }
    return y;
  }
  static Numbers times(Numbers x, const float* sign, double factor = 1) {
    for (int i = 0; i < kDim; ++i) x[i] *= sign[i] * factor;
    return x;
  }
  Numbers rotate(const Numbers& x) const {
    Numbers y = hadamard(times(hadamard(times(x, in)), mid));
    for (double& number : y) number /= kDim;
    return y;
  }
  Numbers back(const Numbers& y) const { return times(hadamard(times(hadamard(y), mid)), in, 1.0 / kDim); }
};

// The page and its parts.
struct Example {
  CodecConfig config = codec_config(kCacheType);
  CodecConstants constants{kDim, config, DType::f16};
  PageCodec codec{kDim, config};
  std::vector<float> keys = rows_of(key_number), values = rows_of(value_number);
  EncodedPage page = codec.encode(TensorView::contiguous(keys.data(), DType::f32, 1, layout::kPageTokens, kDim),
                                  TensorView::contiguous(values.data(), DType::f32, 1, layout::kPageTokens, kDim));
  layout::BodyLayout at = layout::body_layout(constants.tables().shape);
  layout::PageHead head{};

  Example() { std::memcpy(&head, page.head.data(), sizeof(head)); }
  int byte(std::int64_t offset) const { return std::to_integer<int>(page.body[static_cast<std::size_t>(offset)]); }
  double mean(int channel) const { return double{head.mean_scale} * static_cast<std::int8_t>(byte(at.mean + channel)); }
  static Numbers row(const std::vector<float>& rows) { return {rows.begin() + kToken * kDim, rows.begin() + (kToken + 1) * kDim}; }
};

// Where two bits of a code index stand in the body.
struct Place {
  std::int64_t byte;
  int bit;
};
Place key_place(const Example& e, int c) {
  const int rows = layout::key_row_bytes(traits(Code::l4), kDim);
  return {e.at.keys + layout::key_row_offset(rows, kHalf, c / 4) + kByteOfRow, 2 * (c % 4)};
}
Place value_place(const Example& e, int c) {
  const std::int64_t line = std::int64_t{kFrame} * layout::value_lines_per_frame(traits(Code::l4), kDim) + c / 16;
  return {e.at.values + line * layout::kLineBytes + 4 * (c % 16) + kLane % 4, 2 * (kLane / 4)};
}

// One side of the token, worked out.
struct Side {
  Numbers given, coded, rotated, levels, decoded;
  std::vector<int> index;
  std::vector<Place> place;
  double scale = 0;
};
Side work_out(const Example& e, bool keys) {
  const CodecTables& tables = e.constants.tables();
  const Frame frame = keys ? Frame{tables.key_sign_in, tables.key_sign_mid}
                           : Frame{tables.value_sign_in, tables.value_sign_mid + std::int64_t{kFrame} * kDim};
  Side side;
  side.given = side.coded = Example::row(keys ? e.keys : e.values);
  for (int c = 0; keys && c < kDim; ++c) side.coded[c] -= e.mean(c);
  side.rotated = frame.rotate(side.coded);
  for (int c = 0; c < kDim; ++c) {
    side.place.push_back(keys ? key_place(e, c) : value_place(e, c));
    side.index.push_back(e.byte(side.place[c].byte) >> side.place[c].bit & 3);
    side.levels.push_back(level_of(Code::l4, side.index[c]));
  }
  side.scale = double{keys ? e.head.key_scale_max : e.head.value_scale_max} *
               scale_factor(e.byte((keys ? e.at.key_scales : e.at.value_scales) + kSlot));
  side.decoded = frame.back(side.levels);
  for (int c = 0; c < kDim; ++c) side.decoded[c] = side.decoded[c] * side.scale + (keys ? e.mean(c) : 0);
  const std::vector<float> all = keys ? e.codec.decode_keys(e.page) : e.codec.decode_values(e.page);
  for (int c = 0; c < kDim; ++c) {
    if (std::abs(side.decoded[c] - all[kToken * kDim + c]) > 1e-5)
      throw std::logic_error("[format_example] PageCodec decodes otherwise");
  }
  return side;
}

template <typename Number>
std::string print(const char* form, Number x) {
  char text[32];
  std::snprintf(text, sizeof(text), form, x);
  return text;
}
std::string decimal(double x) { return print("%.3f", x); }
std::string hex(int byte) { return "`" + print("%02x", static_cast<unsigned>(byte)) + "`"; }
std::string binary(int x, int bits) {
  std::string text;
  for (int i = bits - 1; i >= 0; --i) text += (x >> i & 1) != 0 ? '1' : '0';
  return text;
}
// The length of the error beside that of the token.
std::string relative_error(const Side& side) {
  double error = 0, length = 0;
  for (int c = 0; c < kDim; ++c) {
    error += (side.decoded[c] - side.given[c]) * (side.decoded[c] - side.given[c]);
    length += side.given[c] * side.given[c];
  }
  return print("%.2f", std::sqrt(error / length));
}

template <typename Cell>
void write_row(std::ostringstream& out, const char* name, const Cell& cell) {
  out << "| " << name << " |";
  for (int c = 0; c < kShown; ++c) out << ' ' << cell(c) << " |";
  out << '\n';
}
void write_table_head(std::ostringstream& out, const char* name) {
  write_row(out, name, [](int c) { return c; });
  out << "|---|";
  for (int c = 0; c < kShown; ++c) out << "--:|";
  out << '\n';
}

void write_opening(std::ostringstream& out, const Example& e) {
  out << "# One token of a page, byte by byte\n\n"
      << "An example beside [format.md](format.md), which has the rules; the words are in [glossary.md](glossary.md). `./dev docs` "
         "writes it\n"
      << "(`tools/format_doc/format_example.cpp`): every number is read from a page that `PageCodec` wrote, worked out again, and\n"
      << "compared with what `PageCodec` decodes.\n\n"
      << "The page: cache type `" << kCacheType << "` (2 bits and one frame on both sides), head_dim " << kDim << ", seed "
      << e.config.seed << ", keys that do not turn. Token t has, in channel c,\n\n"
      << "    key   ((7 t + 13 c + t c) mod 31 - 10) / 8        value   ((5 t + 3 c c) mod 29 - 14) / 16\n\n"
      << "We follow token " << kToken << ": " << kToken << " mod 8 = " << kFrame << " is its value frame, " << kToken
      << " div 8 = j = " << kLane << "; so its slot is 16 * " << kFrame << " + " << kLane << " = " << kSlot << ", it is in half "
      << kHalf << "\nof the page, and in a key row it has byte 4 * " << kLane << " + " << kFrame % 4 << " = " << kByteOfRow
      << ".\n\n"
      << "| page head | bytes | means |\n|---|---|---|\n";
  const auto head_bytes = [&e](std::size_t first, std::size_t count) {
    std::string text;
    for (std::size_t i = first; i < first + count; ++i)
      text += hex(std::to_integer<int>(e.page.head[i])) + (i + 1 < first + count ? " " : "");
    return text;
  };
  out << "| 0 - 3 | " << head_bytes(0, 4) << " | format " << int{e.head.format_version} << ", key code " << int{e.head.key_code}
      << " (l4), value code " << int{e.head.value_code} << ", " << int{e.head.num_sinks} << " sinks |\n"
      << "| 4 - 7 | " << head_bytes(4, 4) << " | mean scale " << print("%.6f", double{e.head.mean_scale}) << " |\n"
      << "| 8 - 11 | " << head_bytes(8, 4) << " | largest key scale " << print("%.6f", double{e.head.key_scale_max}) << " |\n"
      << "| 12 - 15 | " << head_bytes(12, 4) << " | largest value scale " << print("%.6f", double{e.head.value_scale_max})
      << " |\n\n"
      << "Offsets from here on are those of the body, " << e.at.bytes << " bytes.\n";
}

void write_scale(std::ostringstream& out, const Example& e, const Side& side, bool keys) {
  const std::int64_t part = keys ? e.at.key_scales : e.at.value_scales;
  const int code = e.byte(part + kSlot);
  out << "Its scale: the byte of slot " << kSlot << ", at " << part << " + " << kSlot << " = " << part + kSlot << ", is "
      << hex(code) << " = " << code << ": s = " << print("%.6f", double{keys ? e.head.key_scale_max : e.head.value_scale_max})
      << " * 2^((" << code << " - 255) / 32) = " << print("%.6f", side.scale) << ".\n\n";
}

void write_codes(std::ostringstream& out, const Side& side) {
  write_table_head(out, "coordinate");
  write_row(out, "y", [&](int c) { return decimal(side.rotated[c]); });
  write_row(out, "y / s", [&](int c) { return print("%.0f", side.rotated[c] / side.scale); });
  write_row(out, "level", [&](int c) { return print("%.0f", side.levels[c]); });
  write_row(out, "code index", [&](int c) { return side.index[c]; });
  write_row(out, "its two bits", [&](int c) { return binary(side.index[c], 2); });
  write_row(out, "byte at", [&](int c) { return side.place[c].byte; });
  write_row(out, "from bit", [&](int c) { return side.place[c].bit; });
  out << '\n';
}

void write_key(std::ostringstream& out, const Example& e) {
  const Side key = work_out(e, true);
  const int rows = layout::key_row_bytes(traits(Code::l4), kDim);
  out << "\n## Its key\n\nThe mean stands at " << e.at.mean << ", an int8 a channel; the key is coded as what the mean leaves.\n\n";
  write_table_head(out, "channel");
  write_row(out, "key k", [&](int c) { return decimal(key.given[c]); });
  write_row(out, "mean, byte", [&](int c) { return hex(e.byte(e.at.mean + c)); });
  write_row(out, "mean", [&](int c) { return decimal(e.mean(c)); });
  write_row(out, "x = k - mean", [&](int c) { return decimal(key.coded[c]); });
  out << "\nThe keys' frame rotates x: y = P x, and y has a coordinate where x had a channel.\n";
  write_scale(out, e, key, true);
  out << "A coordinate becomes the level that is nearest to it: -120, -36, 36 or 120, code index 0 to 3. (The encoder has its own\n"
      << "candidates of the scale; s is taken last, so that a coordinate near the middle of two levels may have either.)\n\n";
  write_codes(out, key);
  out << "Key row r holds coordinates 4 r to 4 r + 3. Row 0 of half " << kHalf << " begins at "
      << e.at.keys + layout::key_row_offset(rows, kHalf, 0) << ", row 1 at " << e.at.keys + layout::key_row_offset(rows, kHalf, 1)
      << "; our token has byte " << kByteOfRow << " of each:\n\n";
  for (int row = 0; row < 2; ++row) {
    const std::int64_t at = key.place[4 * row].byte;
    out << "* " << at << ": " << hex(e.byte(at)) << " = " << binary(e.byte(at), 8) << ", from the right coordinates " << 4 * row
        << " to " << 4 * row + 3 << "\n";
  }
  out << "\nReading it: levels times s, rotated back, and the mean.\n\n";
  write_table_head(out, "channel");
  write_row(out, "mean + s P^T level", [&](int c) { return decimal(key.decoded[c]); });
  write_row(out, "key k", [&](int c) { return decimal(key.given[c]); });
  out << "\nThe error of the whole key is " << relative_error(key)
      << " of its length. A score never decodes it: it rotates the query once, and\n"
      << "<q, k> = <q, mean> + s <P q, level>.\n";
}

void write_value(std::ostringstream& out, const Example& e) {
  const Side value = work_out(e, false);
  out << "\n## Its value\n\nValues have no mean and eight frames; that of our token is number " << kFrame << ": y = P_" << kFrame
      << " v.\n";
  write_scale(out, e, value, false);
  write_codes(out, value);
  const std::int64_t line = std::int64_t{kFrame} * layout::value_lines_per_frame(traits(Code::l4), kDim) * layout::kLineBytes;
  out << "A line of 64 bytes is 16 words, one a coordinate, and a word holds the 16 tokens of the frame.\nFrame " << kFrame
      << " begins at " << e.at.values << " + " << line << " = " << e.at.values + line
      << "; the word of coordinate c is 4 c further;\nj = " << kLane << " = 4 * " << kLane / 4 << " + " << kLane % 4 << " is bits "
      << 2 * (kLane / 4) << " and " << 2 * (kLane / 4) + 1 << " of byte " << kLane % 4 << " of it.\nCoordinate 0: byte "
      << value.place[0].byte << " is " << hex(e.byte(value.place[0].byte)) << " = " << binary(e.byte(value.place[0].byte), 8)
      << ", so the index is " << value.index[0] << ".\n\nReading it: levels times s, rotated back.\n\n";
  write_table_head(out, "channel");
  write_row(out, "s P^T level", [&](int c) { return decimal(value.decoded[c]); });
  write_row(out, "value v", [&](int c) { return decimal(value.given[c]); });
  out << "\nThe error of the whole value is " << relative_error(value)
      << " of its length. An attend does not rotate single values back: it adds up\n"
      << "weight * s * level of all tokens of a frame, and rotates eight sums.\n";
}

}  // namespace

std::string format_example_markdown() {
  const Example example;
  std::ostringstream out;
  write_opening(out, example);
  write_key(out, example);
  write_value(out, example);
  return out.str();
}

}  // namespace qjl
