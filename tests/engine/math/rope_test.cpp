// Rotation against the formula in doubles, for both orders of pairs, part of the dimensions and all scalings.
//
// Bound: cosine, sine, two products and a sum are rounded once each: 4 u (|a| + |b|), u = 2^-24.
#include "rope.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

namespace qjl::engine {
namespace {

struct Case {
  RopeConfig config;
  int head_dim, heads;
  std::int64_t position;
};

RopeConfig config(int dimensions, bool interleaved, double base = 10000.0, double factor = 1.0) {
  RopeConfig c;
  c.base = base;
  c.dimensions = dimensions;
  c.interleaved = interleaved;
  c.factor = factor;
  return c;
}

void check(const Case& c) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(c.heads * c.head_dim));
  for (float& v : x) v = normal(random);
  const std::vector<float> before = x;
  const int pairs = c.config.dimensions / 2;
  std::vector<float> angles(static_cast<std::size_t>(2 * pairs));
  const std::vector<double> frequencies = rope_frequencies(c.config);
  rope_angles(frequencies, c.position, angles.data());
  rope_rotate(c.config, angles.data(), c.heads, c.head_dim, x.data());

  std::vector<double> wanted(before.begin(), before.end()), bound(before.size(), 0.0);
  for (int h = 0; h < c.heads; ++h) {
    for (int i = 0; i < pairs; ++i) {
      const auto first = static_cast<std::size_t>(h * c.head_dim + (c.config.interleaved ? 2 * i : i));
      const auto second = static_cast<std::size_t>(h * c.head_dim + (c.config.interleaved ? 2 * i + 1 : i + pairs));
      double divisor = c.config.factor;
      if (!c.config.frequency_divisors.empty()) divisor *= c.config.frequency_divisors[static_cast<std::size_t>(i)];
      const double angle = static_cast<double>(c.position) / divisor / std::pow(c.config.base, 2.0 * i / c.config.dimensions);
      wanted[first] = before[first] * std::cos(angle) - before[second] * std::sin(angle);
      wanted[second] = before[first] * std::sin(angle) + before[second] * std::cos(angle);
      // an angle in doubles is good to 2^-50 of itself
      bound[first] = bound[second] = (4 * std::ldexp(1.0, -24) + std::abs(angle) * std::ldexp(1.0, -50)) *
                                     (std::abs(before[first]) + std::abs(before[second]));
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(x[i], wanted[i], bound[i]) << "head_dim " << c.head_dim << ", dimensions " << c.config.dimensions
                                           << ", interleaved " << c.config.interleaved << ", position " << c.position << ", i "
                                           << i;
  }
}

TEST(Rope, Formula) {
  for (const bool interleaved : {false, true}) {
    for (const std::int64_t position : {0, 1, 77, 8191, 131071}) {
      check({config(64, interleaved), 64, 3, position});
      check({config(128, interleaved, 1e6), 128, 2, position});
      check({config(64, interleaved, 1e4, 8.0), 96, 2, position});  // the last 32 numbers stay
      RopeConfig divided = config(64, interleaved, 5e5);
      divided.frequency_divisors = llama3_divisors(5e5, 64, {});
      check({divided, 64, 2, position});
    }
  }
}

// Turning pairs of one kind and then changing the order is changing it and turning pairs of the other kind; and back is back.
TEST(Rope, ReorderedIsTheOtherKind) {
  for (const bool interleaved : {false, true}) {
    const RopeConfig from = config(64, interleaved), to = config(64, !interleaved);
    std::vector<float> x(2 * 80), angles(64);  // the last 16 of each head stay
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
    rope_angles(rope_frequencies(from), 77, angles.data());
    const std::vector<float> before = x;
    std::vector<float> other = x;
    rope_reorder(from, 2, 80, other.data());
    EXPECT_NE(other, before);
    EXPECT_EQ(other[1], before[interleaved ? 2 : 32]);
    std::vector<float> back = other;
    rope_reorder(to, 2, 80, back.data());
    EXPECT_EQ(back, before);
    rope_rotate(from, angles.data(), 2, 80, x.data());
    rope_reorder(from, 2, 80, x.data());
    rope_rotate(to, angles.data(), 2, 80, other.data());
    EXPECT_EQ(x, other);
  }
}

// Wave lengths above 8192 slow down by 8, below 2048 stay, between go smoothly and monotonically.
TEST(Rope, Llama3Divisors) {
  const Llama3Scaling scaling;
  const std::vector<float> divisors = llama3_divisors(5e5, 128, scaling);
  ASSERT_EQ(divisors.size(), 64u);
  int blended = 0;
  for (int i = 0; i < 64; ++i) {
    const double wave_length = 2 * std::numbers::pi * std::pow(5e5, i / 64.0);
    const float divisor = divisors[static_cast<std::size_t>(i)];
    if (wave_length < 2048) {
      EXPECT_EQ(divisor, 1.0f) << i;
    } else if (wave_length > 8192) {
      EXPECT_EQ(divisor, 8.0f) << i;
    } else {
      ++blended;
      // 1 / divisor is a straight line in 1 / wave length from 1 (at 2048) to 1/8 (at 8192)
      const double share = (8192 / wave_length - 1) / 3;
      EXPECT_NEAR(1.0 / divisor, share + (1 - share) / 8, 1e-6) << i;
    }
  }
  EXPECT_GT(blended, 2);
}

// Pairs that turn 32 times and more within 4096 tokens stay, those that turn once or less slow down by 4, between is a line in the
// pair's number from the last whole pair before to the first after.
TEST(Rope, YarnDivisors) {
  const auto turns = [](int i) { return 4096.0 / (2 * std::numbers::pi * std::pow(1e4, i / 64.0)); };
  YarnScaling scaling{.factor = 4.0};
  const std::vector<float> whole = yarn_divisors(1e4, 128, scaling);
  ASSERT_EQ(whole.size(), 64u);
  int first = 0, last = 63;
  while (turns(first + 1) > 32.0) ++first;
  while (turns(last - 1) < 1.0) --last;
  for (int i = 0; i < 64; ++i) {
    const double ramp = std::clamp(static_cast<double>(i - first) / (last - first), 0.0, 1.0);
    EXPECT_NEAR(1.0 / whole[static_cast<std::size_t>(i)], 1.0 - ramp + ramp / 4.0, 1e-6) << i;
  }
  scaling.bounds = YarnScaling::Bounds::exact;
  EXPECT_NE(yarn_divisors(1e4, 128, scaling), whole);
  scaling.extrapolation = 0.0;  // then it is linear
  EXPECT_EQ(yarn_divisors(1e4, 128, scaling), std::vector<float>(64, 4.0f));
}

TEST(Rope, Magnitudes) {
  EXPECT_DOUBLE_EQ(yarn_magnitude(1.0, 0.0), 1.0);
  EXPECT_DOUBLE_EQ(yarn_magnitude(16.0, 0.0), 1.0 + 0.1 * std::log(16.0));
  EXPECT_DOUBLE_EQ(yarn_magnitude(16.0, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(longrope_magnitude(0.5, 4096.0), 1.0);
  EXPECT_DOUBLE_EQ(longrope_magnitude(32.0, 4096.0), std::sqrt(1.0 + 5.0 / 12.0));
  float angles[2];
  const double frequency = 0.25;
  rope_angles({&frequency, 1}, 3, angles, 1.5);
  EXPECT_FLOAT_EQ(angles[0], static_cast<float>(1.5 * std::cos(0.75)));
  EXPECT_FLOAT_EQ(angles[1], static_cast<float>(1.5 * std::sin(0.75)));
}

}  // namespace
}  // namespace qjl::engine
