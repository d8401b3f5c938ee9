// Reads the numbers of a page from its raw bytes: a second reading of docs/format.md, with its own arithmetic of offsets.
//
// A page is a head of 16 bytes and a body. Token t of the page has frame f = t mod 8 and lane j = t div 8, its slot is 16 f + j.
// Body, in this order, each part only when the code has it:
//   mean (d bytes, to a multiple of 64), key scales (128), value scales (128), outlier channels (to 64), key norms (256),
//   outlier norms (256), value steps, value minima (256 per group of 32 channels, each), keys, outlier keys, values; to 64 in all.
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace oracle {

enum class Code { f16, s1, s2, l4, l8, l16, jl, minmax, t2, t2w, t3, t4, l32, l64 };  // numbered as in the head of a page

inline bool rotated(Code code) { return code != Code::f16 && code != Code::jl && code != Code::minmax; }
inline int frames_of(Code code) { return code == Code::s2 ? 2 : 1; }
inline bool is_fine(Code code) { return code == Code::l32 || code == Code::l64; }
inline int bits_of_coordinate(Code code) {
  if (code == Code::t2 || code == Code::t2w) return 2;
  if (is_fine(code)) return code == Code::l32 ? 5 : 6;
  return code == Code::s1 || code == Code::s2 ? 1 : code == Code::l4 ? 2 : code == Code::l8 || code == Code::t3 ? 3 : 4;
}

// Codes whose tokens are one string of bits: `columns` has the number that each bit of a window adds (exclusive or), oldest first.
struct Trellis {
  std::vector<int> columns;
  int window() const { return static_cast<int>(columns.size()); }
  int number(int bits) const {
    int sum = 0;
    for (int b = 0; b < window(); ++b) sum ^= bits >> b & 1 ? columns[b] : 0;
    return sum;
  }
};
inline Trellis trellis(Code code) {
  if (code == Code::t2) return {{8, 12, 10, 15, 12, 4}};
  if (code == Code::t2w) return {{12, 8, 2, 9, 10, 10, 12, 4}};
  if (code == Code::t3) return {{28, 16, 4, 1, 3, 21, 9, 13}};
  if (code == Code::l32) return {{1, 2, 4, 8, 16}};  // no overlap
  if (code == Code::l64) return {{1, 2, 4, 8, 16, 32}};
  if (code == Code::t4) return {{8, 35, 29, 25, 53, 37, 57, 33}};
  return {};
}
inline bool is_string(Code code) { return trellis(code).window() > 0; }
inline bool is_trellis(Code code) { return is_string(code) && !is_fine(code); }
// Steps of a group of keys: as many whole bytes as k, or half as many when k is even. A group of values has four.
inline int steps_of_key_group(Code code) { return bits_of_coordinate(code) % 2 == 0 ? 4 : 8; }
// The step that a coordinate is; `across` groups stand side by side: 4 of keys, 16 of values.
inline int step_of(Code code, int across, int coordinate) {
  const int steps = across == 16 ? 4 : steps_of_key_group(code), block = coordinate / (across * steps),
            rest = coordinate % (across * steps);
  return steps * (across * block + rest % across) + rest / across;
}

inline double from_half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}
inline double from_bfloat(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

// Nearest number of the format, ties to even; the bits of a number that the format has.
inline double round_to(double x, int fraction_bits, int least_exponent) {
  if (x == 0.0) return x;
  const int shift = fraction_bits - std::max(std::ilogb(x), least_exponent);
  return std::ldexp(std::nearbyint(std::ldexp(x, shift)), -shift);
}
inline double round_to_half(double x) { return round_to(x, 10, -14); }
inline double round_to_bfloat(double x) { return round_to(x, 7, -126); }
inline std::uint16_t half_bits(double half) {
  const unsigned sign = std::signbit(half) ? 0x8000 : 0;
  if (half == 0.0) return static_cast<std::uint16_t>(sign);
  const int exponent = std::max(std::ilogb(half), -14);
  const int significand = static_cast<int>(std::ldexp(std::abs(half), 10 - exponent));  // 1024 is the hidden bit
  return static_cast<std::uint16_t>(sign | (significand < 1024 ? significand : ((exponent + 15) << 10) + significand - 1024));
}
inline std::uint16_t bfloat_bits(double bfloat) {
  const float x = static_cast<float>(bfloat);
  std::uint32_t wide;
  std::memcpy(&wide, &x, 4);
  return static_cast<std::uint16_t>(wide >> 16);
}

struct Format {
  int d = 0;
  Code key = Code::f16, value = Code::f16;
  bool rows_are_bfloat = false;            // Code::f16 holds bf16 rows
  int m = 0, outliers = 0, outlier_m = 0;  // Code::jl
  std::vector<double> turn;                // radians a token of each RoPE pair; empty: keys do not turn
  bool interleaved = false;                // pairs (2i, 2i + 1) instead of (i, i + pairs)
};

class Page {
 public:
  Page(const Format& format, std::span<const std::byte> head, std::span<const std::byte> body)
      : format_(format), head_(head), body_(body) {
    const int d = format.d, groups = (d + 31) / 32;
    const bool rotated_keys = rotated(format.key), sketch = format.key == Code::jl;
    const int value_bytes = format.value == Code::f16      ? 128 * d * 2
                            : format.value == Code::minmax ? 128 * d / 4
                                                           : 8 * lines_per_frame() * 64;
    const int key_bytes = rotated_keys ? 128 * key_rows() : sketch ? 128 * format.m / 8 : 128 * d * 2;
    int at = 0;
    const auto part = [&at](bool present, int bytes) {
      const int begin = at;
      if (present) at += bytes;
      return begin;
    };
    mean_ = part(rotated_keys, to_line(d));
    key_scales_ = part(rotated_keys, 128);
    value_scales_ = part(rotated(format.value), 128);
    outlier_channels_ = part(sketch && format.outliers > 0, to_line(format.outliers));
    key_norms_ = part(sketch, 256);
    outlier_norms_ = part(sketch && format.outliers > 0, 256);
    value_steps_ = part(format.value == Code::minmax, 256 * groups);
    value_minima_ = part(format.value == Code::minmax, 256 * groups);
    keys_ = part(true, key_bytes);
    outlier_keys_ = part(sketch && format.outliers > 0, 128 * format.outlier_m / 8);
    values_ = part(true, value_bytes);
    bytes_ = to_line(at);
  }

  int body_bytes() const { return bytes_; }
  const Format& format() const { return format_; }
  int version() const { return byte(head_, 0); }
  int key_code() const { return byte(head_, 1); }
  int value_code() const { return byte(head_, 2); }
  int num_sinks() const { return byte(head_, 3); }
  double mean_scale() const { return head_float(4); }
  double key_scale_max() const { return head_float(8); }
  double value_scale_max() const { return head_float(12); }

  double mean(int channel) const { return mean_scale() * static_cast<std::int8_t>(byte(body_, mean_ + channel)); }
  double key_scale(int token) const { return scale(key_scale_max(), byte(body_, key_scales_ + slot(token))); }
  double value_scale(int token) const { return scale(value_scale_max(), byte(body_, value_scales_ + slot(token))); }

  // Code number of a coordinate; for two frames the coordinates of the second follow those of the first.
  int key_number(int token, int coordinate) const {
    const int c = coordinate, group = c % 8;
    if (is_string(format_.key)) return string_number(format_.key, 4, c, [&](int n) { return key_string_bit(token, n); });
    switch (bits_of_coordinate(format_.key)) {
      case 1: return key_row(token, c / 8) >> (c % 8) & 1;
      case 2: return key_row(token, c / 4) >> (2 * (c % 4)) & 3;
      case 3: {
        const int a = key_row(token, c / 8 * 3), b = key_row(token, c / 8 * 3 + 1), e = key_row(token, c / 8 * 3 + 2);
        const int six[4] = {a & 63, b & 63, e & 63, (a >> 6) | (b >> 6) << 2 | (e >> 6) << 4};
        return six[group / 2] >> (3 * (group % 2)) & 7;
      }
      default: {
        const int f = token % 8, lane = token / 8;
        const int line = ((f / 4) * (format_.d / 8) + c / 8) * 4 + f % 4;
        return byte(body_, keys_ + line * 64 + lane * 4 + group % 4) >> (4 * (group / 4)) & 15;
      }
    }
  }

  int value_number(int token, int coordinate) const {
    const int f = token % 8, quad = token / 8 / 4, in_quad = token / 8 % 4, block = coordinate / 16;
    const int blocks = format_.d * frames_of(format_.value) / 16;
    if (is_string(format_.value)) {
      return string_number(format_.value, 16, coordinate, [&](int n) { return value_string_bit(token, n); });
    }
    const bool alone = blocks % 2 == 1 && block == blocks - 1;
    const auto line = [&](int index) {
      return byte(body_, values_ + (f * lines_per_frame() + index) * 64 + coordinate % 16 * 4 + in_quad);
    };
    switch (bits_of_coordinate(format_.value)) {
      case 1: return line(block / 2) >> (4 * (block % 2) + quad) & 1;
      case 2: return line(block) >> (2 * quad) & 3;
      case 3: {
        const int first = block / 2 * 3;
        if (alone) return line(first + quad / 2) >> (4 * (quad % 2)) & 7;
        const int a = line(first), b = line(first + 1), e = line(first + 2);
        const int six[4] = {a & 63, b & 63, e & 63, (a >> 6) | (b >> 6) << 2 | (e >> 6) << 4};
        return six[2 * (block % 2) + quad / 2] >> (3 * (quad % 2)) & 7;
      }
      default: return line(2 * block + quad / 2) >> (4 * (quad % 2)) & 15;
    }
  }

  // Code::f16.
  double exact_key(int token, int channel) const { return number16(keys_ + (slot(token) * format_.d + channel) * 2); }
  double exact_value(int token, int channel) const { return number16(values_ + (slot(token) * format_.d + channel) * 2); }

  // Code::jl: a sketch bit of 1 stands for a negative projection.
  int outlier_channel(int i) const { return byte(body_, outlier_channels_ + i); }
  double key_norm(int token) const { return half(key_norms_ + 2 * slot(token)); }
  double outlier_norm(int token) const { return half(outlier_norms_ + 2 * slot(token)); }
  bool key_bit(int token, int row) const { return byte(body_, keys_ + slot(token) * (format_.m / 8) + row / 8) >> (row % 8) & 1; }
  bool outlier_bit(int token, int row) const {
    return byte(body_, outlier_keys_ + slot(token) * (format_.outlier_m / 8) + row / 8) >> (row % 8) & 1;
  }

  // Code::minmax.
  double value_step(int token, int channel) const { return half(value_steps_ + group_at(token, channel)); }
  double value_minimum(int token, int channel) const { return half(value_minima_ + group_at(token, channel)); }
  int minmax_number(int token, int channel) const {
    return byte(body_, values_ + slot(token) * (format_.d / 4) + channel / 4) >> (2 * (channel % 4)) & 3;
  }

 private:
  static int to_line(int bytes) { return (bytes + 63) / 64 * 64; }
  static int slot(int token) { return token % 8 * 16 + token / 8; }
  static double scale(double max, int code) { return code == 0 ? 0.0 : max * std::exp2((code - 255) / 32.0); }
  static int byte(std::span<const std::byte> from, int at) { return std::to_integer<int>(from[at]); }
  int group_at(int token, int channel) const { return 2 * (slot(token) * ((format_.d + 31) / 32) + channel / 32); }
  std::uint16_t word(int at) const { return static_cast<std::uint16_t>(byte(body_, at) | byte(body_, at + 1) << 8); }
  double half(int at) const { return from_half(word(at)); }
  double number16(int at) const { return format_.rows_are_bfloat ? from_bfloat(word(at)) : from_half(word(at)); }
  double head_float(int at) const {
    float x;
    std::memcpy(&x, head_.data() + at, 4);
    return x;
  }

  // The level number of a coordinate, from the bits of a token's string.
  template <typename Bit>
  int string_number(Code code, int across, int coordinate, const Bit& bit) const {
    const Trellis t = trellis(code);
    const int k = bits_of_coordinate(code), length = k * format_.d, end = k * (step_of(code, across, coordinate) + 1);
    int window = 0;
    for (int b = 0; b < t.window(); ++b) window |= bit((end - t.window() + b + length) % length) << b;
    return t.number(window);
  }
  int key_string_bit(int token, int n) const {
    const int steps = steps_of_key_group(format_.key), bytes = steps * bits_of_coordinate(format_.key) / 8;
    const int words = format_.d / (4 * steps);
    const int f = token % 8, byte_number = n / 8, group = byte_number / bytes;
    const int line = ((f / 4 * words + group / 4) * 4 + f % 4) * bytes + byte_number % bytes;
    return byte(body_, keys_ + line * 64 + token / 8 * 4 + group % 4) >> (n % 8) & 1;
  }
  int value_string_bit(int token, int n) const {
    const int k = bits_of_coordinate(format_.value), group = n / (4 * k), bit = n % (4 * k), quad = token / 8 / 4;
    const int bytes = k / 2;  // and a nibble when k is odd: of quads 0 and 1, of 2 and 3 in one line
    const bool nibble = bit >= 8 * bytes;
    const int line = group / 16 * 2 * k + (nibble ? 4 * bytes + quad / 2 : quad * bytes + bit / 8);
    const int from = nibble ? 4 * (quad % 2) + bit - 8 * bytes : bit % 8;
    return byte(body_, values_ + (token % 8 * lines_per_frame() + line) * 64 + group % 16 * 4 + token / 8 % 4) >> from & 1;
  }

  // Bytes of one key: rows of 64 bytes in the page, each holding one byte of the 64 tokens of four frames.
  int key_rows() const { return format_.d * frames_of(format_.key) * bits_of_coordinate(format_.key) / 8; }
  int key_row(int token, int row) const {
    const int f = token % 8, lane = token / 8, half_page = f / 4, whole = key_rows() / 3 * 3, rest = key_rows() % 3;
    const int line = row < whole ? row / 3 * 6 + half_page * 3 + row % 3 : whole * 2 + half_page * rest + (row - whole);
    return byte(body_, keys_ + line * 64 + lane * 4 + f % 4);
  }
  int lines_per_frame() const {
    const int blocks = format_.d * frames_of(format_.value) / 16;
    switch (bits_of_coordinate(format_.value)) {
      case 1: return (blocks + 1) / 2;
      case 2: return blocks;
      case 3: return blocks / 2 * 3 + blocks % 2 * 2;
      default: return blocks * bits_of_coordinate(format_.value) / 2;
    }
  }

  Format format_;
  std::span<const std::byte> head_, body_;
  int mean_, key_scales_, value_scales_, outlier_channels_, key_norms_, outlier_norms_, value_steps_, value_minima_, keys_,
      outlier_keys_, values_, bytes_;
};

}  // namespace oracle
