// What the codec tests share: numbers made by integers, rows in the three formats, and the step from the library's words to the
// oracle's.
//
//   Integers  x' = 6364136223846793005 x + 1442695040888963407 mod 2^64, the top bits are the number: no floating point library
//   Rows      the same numbers as the library sees them (fp32, fp16 or bf16 words) and as the oracle does (doubles)
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "forced_target.hpp"
#include "oracle.hpp"
#include "qjl/codec.hpp"

namespace qjl::test {

inline constexpr double kUnit = 0x1p-24;  // u: relative rounding error of fp32

class Integers {
 public:
  explicit Integers(std::uint64_t seed) : state_(seed) {}
  std::uint32_t bits(int count) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state_ >> (64 - count));
  }
  // Sum of four uniform numbers in [-128, 127] and a half, over 147: mean 0, variance 1, near enough to normal.
  double bell() {
    double sum = 2.0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>(bits(8)) - 128;
    return sum / 147.8;
  }

 private:
  std::uint64_t state_;
};

struct Rows {
  DType dtype;
  int heads, tokens, d;
  std::vector<double> number;  // [heads, tokens, d], exactly what `words` hold
  std::vector<std::uint8_t> words;

  TensorView view() const { return TensorView::contiguous(words.data(), dtype, heads, tokens, d); }
  TensorView view(int first, int count) const {  // some tokens of all heads
    TensorView v = view();
    v.data = words.data() + static_cast<std::size_t>(first) * d * dtype_bytes(dtype);
    v.tokens = count;
    return v;
  }
  oracle::Vector row(int head, int token) const {
    const auto at = number.begin() + (static_cast<std::ptrdiff_t>(head) * tokens + token) * d;
    return {at, at + d};
  }
};

inline double round_to_dtype(double x, DType dtype) {
  return dtype == DType::f16 ? oracle::round_to_half(x) : dtype == DType::bf16 ? oracle::round_to_bfloat(x) : static_cast<float>(x);
}

inline Rows make_rows(DType dtype, int heads, int tokens, int d, const std::vector<double>& numbers) {
  Rows rows{dtype, heads, tokens, d, {}, std::vector<std::uint8_t>(numbers.size() * dtype_bytes(dtype))};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    rows.number.push_back(round_to_dtype(numbers[i], dtype));
    if (dtype == DType::f32) {
      const float word = static_cast<float>(rows.number[i]);
      std::memcpy(&rows.words[4 * i], &word, 4);
    } else {
      const std::uint16_t word = dtype == DType::f16 ? oracle::half_bits(rows.number[i]) : oracle::bfloat_bits(rows.number[i]);
      std::memcpy(&rows.words[2 * i], &word, 2);
    }
  }
  return rows;
}

// Rows with what real keys have: an offset per channel, two loud channels, tokens of different length.
inline std::vector<double> lifelike_numbers(Integers& random, int heads, int tokens, int d) {
  std::vector<double> numbers;
  for (int head = 0; head < heads; ++head) {
    std::vector<double> offset, spread;
    for (int c = 0; c < d; ++c) {
      offset.push_back(random.bell());
      spread.push_back(c % 37 == 5 ? 4.0 : 1.0);
    }
    for (int t = 0; t < tokens; ++t) {
      const double length = 0.5 + random.bits(8) / 128.0;
      for (int c = 0; c < d; ++c) numbers.push_back(offset[c] + length * spread[c] * random.bell());
    }
  }
  return numbers;
}
inline Rows lifelike_rows(Integers& random, DType dtype, int heads, int tokens, int d) {
  return make_rows(dtype, heads, tokens, d, lifelike_numbers(random, heads, tokens, d));
}
inline Rows bell_rows(Integers& random, DType dtype, int heads, int tokens, int d) {
  std::vector<double> numbers(static_cast<std::size_t>(heads) * tokens * d);
  for (double& x : numbers) x = random.bell();
  return make_rows(dtype, heads, tokens, d, numbers);
}

inline oracle::Format oracle_format(int d, const CodecConfig& config, DType row_dtype = DType::f16) {
  oracle::Format f;
  f.d = d;
  f.key = oracle::Code{static_cast<int>(config.key_code)};
  f.value = oracle::Code{static_cast<int>(config.value_code)};
  f.rows_are_bfloat = row_dtype == DType::bf16;
  if (config.key_code == Code::jl) {
    f.m = config.sketch.rows == 0 ? 2 * d : config.sketch.rows;
    f.outliers = config.sketch.outlier_channels == 0 ? d / 16 : std::max(config.sketch.outlier_channels, 0);
    f.outlier_m = f.outliers == 0 ? 0 : config.sketch.outlier_rows == 0 ? d : config.sketch.outlier_rows;
  }
  f.turn = config.rope.frequency;
  f.interleaved = config.rope.pairs == KeyRope::Pairs::interleaved;
  return f;
}

// RoPE as models have it: base^(-2 i / (2 pairs)). At base 10^4 and 32 pairs some pairs are too fast for a mean, most turn within
// a page, the slowest are still.
inline KeyRope rope(int pairs, double base, KeyRope::Pairs layout = KeyRope::Pairs::halves) {
  KeyRope out{{}, layout};
  for (int i = 0; i < pairs; ++i) out.frequency.push_back(std::pow(base, -static_cast<double>(i) / pairs));
  return out;
}

// A cache type for keys that turn.
inline CodecConfig turned_config(const std::string& cache_type, int d) {
  CodecConfig config = codec_config(cache_type);
  config.rope = rope(d / 2, 1e4);
  return config;
}

// Rounding of a projection P x, as a factor of u |x|: of one coordinate, and of the whole vector in 2-norm. Hadamard: 2 log2 d
// stages, each orthogonal up to its scale and rounded once; else dots of d terms with rounded P. Three more for the input, a sign,
// a scale.
inline double projection_terms(int d) { return (oracle::is_power_of_two(d) ? 2.0 * std::log2(d) : d) + 3.0; }
inline double projection_norm_terms(int d) { return projection_terms(d) * (oracle::is_power_of_two(d) ? 1.0 : std::sqrt(d)); }

// A page as the oracle reads it: decoded keys and values in doubles; and the reach of each, the 2-norm of what a kernel adds up for
// it, |mean| + scale sqrt(frames) |levels|, which rounding errors are relative to.
struct OracleNumbers {
  std::vector<oracle::Vector> keys, values;
  std::vector<double> key_reach, value_reach;
  std::vector<double> key_scale, key_level_norm, value_scale;  // of rotated codes, else 0
};
inline OracleNumbers read_page(const oracle::Codec& codec, const oracle::Sketch* sketch, const oracle::Page& page) {
  OracleNumbers out;
  const oracle::Format& f = codec.format;
  for (int t = 0; t < kTokensPerPage; ++t) {
    out.keys.push_back(sketch ? sketch->decode_key(f, page, t) : codec.decode_key(page, t));
    out.values.push_back(codec.decode_value(page, t));
    double key_reach = oracle::norm(out.keys[t]), value_reach = oracle::norm(out.values[t]);
    if (sketch) {  // c |k| sum_rows |<S_row, q>|, with c m < 1.3 and |S_row| < 1.5 sqrt(d)
      key_reach = 2.0 * std::sqrt(f.d) * (page.key_norm(t) + (f.outliers ? page.outlier_norm(t) : 0.0));
    } else if (oracle::rotated(f.key)) {
      oracle::Vector mean;
      for (int c = 0; c < f.d; ++c) mean.push_back(page.mean(c));
      key_reach =
          oracle::norm(mean) + page.key_scale(t) * std::sqrt(oracle::frames_of(f.key)) * oracle::norm(codec.key_levels(page, t));
    }
    if (oracle::rotated(f.value)) {
      value_reach = page.value_scale(t) * std::sqrt(oracle::frames_of(f.value)) * oracle::norm(codec.value_levels(page, t));
    } else if (f.value == oracle::Code::minmax) {
      for (int c = 0; c < f.d; ++c) value_reach += std::abs(page.value_minimum(t, c)) + 3.0 * page.value_step(t, c);
    }
    out.key_reach.push_back(key_reach);
    out.value_reach.push_back(value_reach);
    const bool rotated_key = !sketch && oracle::rotated(f.key);
    out.key_scale.push_back(rotated_key ? page.key_scale(t) : 0.0);
    out.key_level_norm.push_back(rotated_key ? oracle::norm(codec.key_levels(page, t)) : 0.0);
    out.value_scale.push_back(oracle::rotated(f.value) ? page.value_scale(t) : 0.0);
  }
  return out;
}

// Rounding of a score, as a factor of u |q| reach: the projected query, a dot over its coordinates, <q, mean>, and sixteen for
// scales, their table, the softmax scale and sums of parts.
inline double score_terms(const oracle::Format& f) {
  if (f.key == oracle::Code::jl) return f.m + f.outlier_m + f.d + 16.0;
  const double rotation = oracle::rotated(f.key) ? projection_norm_terms(f.d) : 0.0;
  return rotation + f.d * oracle::frames_of(f.key) + f.d + 16.0;
}

}  // namespace qjl::test
