// Products on packed weights on every instruction set: integers exactly, any numbers within the rounding of activations.
//
// Bound: an activation is off by at most half a step of max |x| / 16256, 1 % for the rounding of the step itself. Scales of the
// K formats are rounded to fp16: 2^-11 of scale * code, or of scale * (code - 32) for q6_k, and of the offset. fp32: with u = 2^-24
// three roundings a half block on terms below (255 + 128) |scale| + |offset| times |x|, and one a term; offset and code may cancel,
// so w itself is no measure.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "packed_weight.hpp"
#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

constexpr WeightType kPackedTypes[] = {WeightType::q8_0, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0,
                                       WeightType::q5_1, WeightType::q4_k, WeightType::q5_k, WeightType::q6_k};

bool is_k(WeightType type) { return block_numbers(type) == 256; }

struct Case {
  std::int64_t rows, columns, tokens;
};

std::vector<float> product(const Weight& weight, const Activations& x, SimdTarget target) {
  ThreadPool threads(1);
  const PackedMemory memory(PackedWeight::packed_bytes(weight));
  const PackedWeight packed(weight, memory.data(), threads);
  std::vector<QuantizedBlock> blocks(static_cast<std::size_t>(packed.blocks()));
  quantize(x, weight.columns, blocks.data(), target);
  std::vector<float> out(static_cast<std::size_t>(weight.rows * x.tokens), NAN);
  packed_matvec({&packed, 0, packed.groups(), blocks.data(), x.tokens, out.data(), weight.rows}, target);
  return out;
}

// Scale 1, offsets and activations small integers, one activation of 16256 a block: its step is 1 and every sum stays below 2^24,
// so that fp32 holds it exactly.
TEST(Packed, IntegersAreExact) {
  std::mt19937_64 random(1);
  const std::int64_t rows = 37, columns = 64;
  for (const WeightType type : {WeightType::q8_0, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1}) {
    RandomWeight w(type, rows, columns, random);
    for (std::int64_t b = 0; b < rows * columns / 32; ++b) {
      const std::uint16_t one = 0x3c00, offset = static_cast<std::uint16_t>(random() % 2 ? 0x4500 : 0xc200);  // 5 or -3
      std::byte* block = w.bytes.data() + b * block_bytes(type);
      std::memcpy(block, &one, 2);
      if (f16_offsets(type).size() == 2) std::memcpy(block + 2, &offset, 2);
    }
    for (const std::int64_t tokens : {1, 2, 3, 8}) {
      std::vector<float> x(static_cast<std::size_t>(tokens * columns));
      for (float& number : x) number = static_cast<float>(static_cast<int>(random() % 201) - 100);
      for (std::size_t i = 0; i < x.size(); i += 32) x[i + random() % 32] = random() % 2 ? 16256.0f : -16256.0f;
      const std::vector<float> decoded = w.decoded();
      for (const SimdTarget target : simd_targets()) {
        const std::vector<float> found = product(w.weight, {x.data(), tokens, columns}, target);
        for (std::int64_t t = 0; t < tokens; ++t) {
          for (std::int64_t r = 0; r < rows; ++r) {
            std::int64_t wanted = 0;
            for (std::int64_t c = 0; c < columns; ++c)
              wanted += std::llround(decoded[static_cast<std::size_t>(r * columns + c)]) *
                        std::llround(x[static_cast<std::size_t>(t * columns + c)]);
            ASSERT_EQ(static_cast<double>(found[static_cast<std::size_t>(t * rows + r)]), static_cast<double>(wanted))
                << weight_type_name(type) << " on " << simd_target_name(target) << ", token " << t << " of " << tokens << ", row "
                << r;
          }
        }
      }
    }
  }
}

// What the header allows for one row and token.
double error_bound(const Weight& w, std::int64_t row, const float* x) {
  const double u = std::ldexp(1.0, -24);
  double bound = 0;
  std::vector<float> decoded(static_cast<std::size_t>(w.columns));
  w.decode_row(row, decoded.data());
  for (std::int64_t b = 0; b < w.columns / 32; ++b) {
    const CodedBlock block = coded_block(w.type, w.row(row), b);
    const double scale = std::max(std::abs(f16_to_f32(block.scale)), std::abs(f16_to_f32(block.second_scale))),
                 offset = f16_offsets(w.type).size() == 2 ? std::abs(f16_to_f32(block.offset)) : 0;
    double largest = 0, sum = 0, weights = 0;
    for (std::int64_t c = 32 * b; c < 32 * b + 32; ++c) {
      largest = std::max(largest, std::abs(static_cast<double>(x[c])));
      sum += std::abs(static_cast<double>(x[c]));
      weights += std::abs(static_cast<double>(decoded[static_cast<std::size_t>(c)]));
    }
    const double terms = (383 * scale + offset) * sum;
    bound += 0.505 * largest / 16256 * weights + (static_cast<double>(w.columns) / 16 * 3 + 4) * u * terms;
    if (is_k(w.type)) bound += std::ldexp((32 * scale + offset) * sum, -11);
  }
  return bound;
}

void check(WeightType type, const Case& c, SimdTarget target) {
  std::mt19937_64 random(static_cast<std::uint64_t>(type) * 1000 + static_cast<std::uint64_t>(c.rows + c.tokens));
  const RandomWeight w(type, c.rows, c.columns, random);
  const std::int64_t stride = c.columns + 5;
  const std::vector<float> x = random_floats(stride * c.tokens, random), decoded = w.decoded();
  const std::vector<float> found = product(w.weight, {x.data(), c.tokens, stride}, target);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const ExactDot wanted = exact_dot(decoded.data() + r * c.columns, x.data() + t * stride, c.columns);
      ASSERT_NEAR(found[static_cast<std::size_t>(t * c.rows + r)], wanted.value, error_bound(w.weight, r, x.data() + t * stride))
          << weight_type_name(type) << " on " << simd_target_name(target) << ", rows " << c.rows << ", columns " << c.columns
          << ", token " << t << ", row " << r;
    }
  }
}

TEST(Packed, EveryTypeOnEveryTarget) {
  for (const SimdTarget target : simd_targets()) {
    for (const WeightType type : kPackedTypes) {
      for (const Case c :
           {Case{1, 256, 1}, Case{16, 512, 2}, Case{33, 768, 3}, Case{7, 256, 4}, Case{50, 256, 5}, Case{17, 512, 8}})
        check(type, c, target);
      if (!is_k(type)) check(type, {31, 32, 7}, target);
    }
  }
}

TEST(Packed, RefusesWhatItCannotHold) {
  std::mt19937_64 random(1);
  for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16})
    EXPECT_FALSE(PackedWeight::can_pack(RandomWeight(type, 4, 256, random).weight)) << weight_type_name(type);
  for (const WeightType type : kPackedTypes)
    EXPECT_TRUE(PackedWeight::can_pack(RandomWeight(type, 4, 256, random).weight)) << weight_type_name(type);
}

TEST(Quantize, TheSameBitsOnEveryTarget) {
  std::mt19937_64 random(4);
  std::vector<float> x = random_floats(3 * 96, random);
  std::fill_n(x.begin(), 32, 0.0f);
  x[40] = 1e30f;
  std::vector<QuantizedBlock> wanted(3), found(3);
  quantize({x.data(), 3, 96}, 96, wanted.data(), SimdTarget::scalar);
  for (const SimdTarget target : simd_targets()) {
    quantize({x.data(), 3, 96}, 96, found.data(), target);
    for (std::size_t b = 0; b < 3; ++b) {
      for (int t = 0; t < 4; ++t) {  // three tokens, padded to four
        EXPECT_EQ(std::memcmp(found[b].high_low[t], wanted[b].high_low[t], 64), 0) << simd_target_name(target);
        EXPECT_EQ(found[b].scale[t], wanted[b].scale[t]) << simd_target_name(target);
        EXPECT_EQ(found[b].scaled_sum[t], wanted[b].scaled_sum[t]) << simd_target_name(target);
        for (const int half : {0, 1})
          EXPECT_EQ(found[b].half_sum[half][t], wanted[b].half_sum[half][t]) << simd_target_name(target);
      }
      EXPECT_EQ(found[b].scale[3], 0.0f);
    }
  }
}

TEST(Quantize, NotANumberStaysVisible) {
  std::mt19937_64 random(5);
  const RandomWeight w(WeightType::q4_1, 20, 64, random);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = random_floats(64, random);
    x[33] = bad;
    for (const float y : product(w.weight, {x.data(), 1, 64}, simd_target())) EXPECT_TRUE(std::isnan(y)) << bad;
  }
}

TEST(Half, RoundTripAndTies) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((half & 0x7c00) == 0x7c00 && (half & 0x3ff) != 0) continue;  // not a number
    ASSERT_EQ(f32_to_f16(f16_to_f32(half)), half);
    if ((half & 0x7fff) >= 0x7bff) continue;
    const double low = f16_to_f32(half), high = f16_to_f32(static_cast<std::uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one more bit
    ASSERT_EQ(f32_to_f16(middle), half % 2 == 0 ? half : half + 1) << middle;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, static_cast<float>(low))), half) << middle;
  }
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
}

}  // namespace
}  // namespace qjl::engine::test
