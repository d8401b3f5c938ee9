// Rows that tests feed to the library: numbers made by integers, in the three formats.
//
//   Integers  x' = 6364136223846793005 x + 1442695040888963407 mod 2^64, the top bits are the number: no floating point library
//   Rows      the same numbers as the library sees them (fp32, fp16 or bf16 words) and as the oracle does (doubles)
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "oracle.hpp"
#include "qjl/tensor.hpp"

namespace qjl::test {

class Integers {
 public:
  explicit Integers(std::uint64_t seed) : state_(seed) {}
  std::uint32_t bits(int count) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state_ >> (64 - count));
  }
  // Sum of four uniform numbers in [-128, 127] and a half, over 147.8: mean 0, variance 1, near enough to normal.
  double bell() {
    double sum = 2.0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>(bits(8)) - 128;
    return sum / 147.8;
  }

 private:
  std::uint64_t state_;
};

inline double round_to_dtype(double x, DType dtype) {
  return dtype == DType::f16 ? oracle::round_to_half(x) : dtype == DType::bf16 ? oracle::round_to_bfloat(x) : static_cast<float>(x);
}

struct Rows {
  DType dtype;
  int heads, tokens, d;
  std::vector<double> number;  // [heads, tokens, d], exactly what `words` hold
  std::vector<std::uint8_t> words;

  TensorView view() const { return TensorView::contiguous(words.data(), dtype, heads, tokens, d); }
  TensorView view(std::int64_t first, std::int64_t count) const {  // some tokens of all heads
    TensorView v = view();
    v.data = words.data() + first * d * dtype_bytes(dtype);
    v.tokens = count;
    return v;
  }
  std::size_t at(std::int64_t head, std::int64_t token, std::int64_t channel = 0) const {
    return static_cast<std::size_t>((head * tokens + token) * d + channel);
  }
  oracle::Vector row(std::int64_t head, std::int64_t token) const {
    const auto first = number.begin() + static_cast<std::ptrdiff_t>(at(head, token));
    return {first, first + d};
  }
  void set(std::size_t i, double x) {  // i: of `number`
    number[i] = round_to_dtype(x, dtype);
    if (dtype == DType::f32) {
      const float word = static_cast<float>(x);
      std::memcpy(&words[4 * i], &word, 4);
    } else {
      const std::uint16_t word = dtype == DType::f16 ? oracle::half_bits(number[i]) : oracle::bfloat_bits(number[i]);
      std::memcpy(&words[2 * i], &word, 2);
    }
  }
  template <typename Change>
  void transform(const Change& change) {
    for (std::size_t i = 0; i < number.size(); ++i) set(i, change(number[i]));
  }
};

inline Rows make_rows(DType dtype, int heads, int tokens, int d, const std::vector<double>& numbers) {
  const std::size_t count = numbers.size();
  Rows rows{dtype, heads, tokens, d, std::vector<double>(count), std::vector<std::uint8_t>(count * dtype_bytes(dtype))};
  for (std::size_t i = 0; i < count; ++i) rows.set(i, numbers[i]);
  return rows;
}

// Tokens [first, first + count) of all heads, in memory of their own.
inline Rows part_of(const Rows& rows, int first, int count) {
  std::vector<double> numbers;
  for (int head = 0; head < rows.heads; ++head) {
    const auto from = rows.number.begin() + static_cast<std::ptrdiff_t>(rows.at(head, first));
    numbers.insert(numbers.end(), from, from + static_cast<std::ptrdiff_t>(count) * rows.d);
  }
  return make_rows(rows.dtype, rows.heads, count, rows.d, numbers);
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

}  // namespace qjl::test
