// Random weights of any stored type with finite scales, for tests.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "quants.hpp"
#include "weights.hpp"

namespace qjl::engine::test {

// Bytes of each block that are f16 numbers; the rest is any byte.
inline std::vector<int> f16_offsets(WeightType type) {
  switch (type) {
    case WeightType::q8_0:
    case WeightType::q4_0:
    case WeightType::q5_0:
    case WeightType::iq1_s:
    case WeightType::iq2_xxs:
    case WeightType::iq2_xs:
    case WeightType::iq2_s:
    case WeightType::iq3_xxs:
    case WeightType::iq3_s:
    case WeightType::iq4_nl:
    case WeightType::iq4_xs: return {0};
    case WeightType::q4_1:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k: return {0, 2};
    case WeightType::q2_k: return {80, 82};
    case WeightType::q3_k: return {108};
    case WeightType::q6_k: return {208};
    case WeightType::f16: return {0};
    default: return {};
  }
}

struct RandomWeight {
  std::vector<std::byte> bytes;
  Weight weight;

  RandomWeight(WeightType type, std::int64_t rows, std::int64_t columns, std::mt19937_64& random) {
    weight = {type, rows, columns, nullptr};
    const std::int64_t num_blocks = rows * columns / block_numbers(type), block = block_bytes(type);
    bytes.resize(static_cast<std::size_t>(num_blocks * block));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    for (std::int64_t b = 0; b < num_blocks; ++b) fill_floats(type, bytes.data() + b * block, random);
    weight.data = bytes.data();
  }

  static void fill_floats(WeightType type, std::byte* block, std::mt19937_64& random) {
    std::normal_distribution<float> normal;
    const float number = normal(random);
    if (type == WeightType::f32) std::memcpy(block, &number, 4);
    if (type == WeightType::mxfp4) block[0] = static_cast<std::byte>(125 + random() % 4);
    if (type == WeightType::bf16) std::memcpy(block, reinterpret_cast<const std::byte*>(&number) + 2, 2);
    for (const int offset : f16_offsets(type)) {
      // sign and fraction free, exponent such that 2^-3 <= |d| < 2
      const auto half = static_cast<std::uint16_t>((random() & 0x83ff) | ((12 + random() % 4) << 10));
      std::memcpy(block + offset, &half, 2);
    }
    // d in four nibbles; the last is its sign and the exponent's upper three bits, chosen as above.
    if (type == WeightType::iq1_m) block[55] = static_cast<std::byte>((static_cast<int>(block[55]) & 0x8f) | 0x30);
  }

  std::vector<float> decoded() const {
    std::vector<float> out(static_cast<std::size_t>(weight.rows * weight.columns));
    for (std::int64_t r = 0; r < weight.rows; ++r) weight.decode_row(r, out.data() + r * weight.columns);
    return out;
  }
};

inline std::vector<float> random_floats(std::int64_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = normal(random);
  return out;
}

// A product in doubles and the sum of absolute terms that scales its error bound.
struct ExactDot {
  double value = 0, magnitude = 0;
};
inline ExactDot exact_dot(const float* w, const float* x, std::int64_t n) {
  ExactDot dot;
  for (std::int64_t i = 0; i < n; ++i) {
    dot.value += static_cast<double>(w[i]) * x[i];
    dot.magnitude += std::abs(static_cast<double>(w[i]) * x[i]);
  }
  return dot;
}

}  // namespace qjl::engine::test
