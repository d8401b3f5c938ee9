// Row operations on every instruction set of this machine against their formulas in doubles. u = 2^-24.
#include "ops.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kU = 1.0 / (1 << 24);

// The root of a mean of n positive squares loses at most (n / 16 + 5) u / 2, two products 2 u.
TEST(RowOps, RmsNorm) {
  std::mt19937_64 random(1);
  for (const SimdTarget target : simd_targets()) {
    for (const std::int64_t n : {1, 15, 64, 577}) {
      const std::vector<float> x = random_floats(n, random), w = random_floats(n, random);
      std::vector<float> out(x.size(), NAN);
      row_ops(target).rms_norm(x.data(), w.data(), 1e-5, n, out.data());
      double squares = 0;
      for (const float v : x) squares += static_cast<double>(v) * v;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double wanted = x[i] / std::sqrt(squares / static_cast<double>(n) + 1e-5) * w[i];
        const double bound = std::abs(wanted) * kU * (static_cast<double>(n) / 32 + 16 + 5);
        ASSERT_NEAR(out[i], wanted, bound) << simd_target_name(target) << ", n " << n << ", i " << i;
      }
    }
  }
}

// exp is good to 2e-7 = 4 u; one addition, one division, one product add 3 u. Results below 1e-37 may be cut.
TEST(RowOps, SiluMul) {
  std::mt19937_64 random(2);
  for (const SimdTarget target : simd_targets()) {
    std::vector<float> gate, up;
    for (float x = -120.0f; x < 120.0f; x += 0.0371f) gate.push_back(x);
    for (const float special : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e4f, -1e4f}) gate.push_back(special);
    up = random_floats(std::ssize(gate), random);
    const std::vector<float> x = gate;
    row_ops(target).silu_mul(gate.data(), up.data(), std::ssize(gate));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = x[i] / (1.0 + std::exp(-static_cast<double>(x[i]))) * up[i];
      // below -87 the exponential is held: at most |x up| e^-87 away
      const double cut = std::abs(static_cast<double>(x[i]) * up[i]) * std::exp(-86.0);
      ASSERT_NEAR(gate[i], wanted, 8 * kU * std::abs(wanted) + cut)
          << simd_target_name(target) << ", gate " << x[i] << ", up " << up[i];
    }
  }
}

// The exponent z is a product of four roundings, two constants and a sum that loses two more: 8 u relative, |z| 8 u in exp(z), of
// which the result feels the share exp(z) / (1 + exp(z)). The rest as for SiluMul.
TEST(RowOps, GeluMul) {
  std::mt19937_64 random(4);
  for (const SimdTarget target : simd_targets()) {
    std::vector<float> gate, up;
    for (float x = -14.0f; x < 14.0f; x += 0.00371f) gate.push_back(x);
    for (const float special : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e4f, -1e4f, 1e25f, -1e25f}) gate.push_back(special);
    up = random_floats(std::ssize(gate), random);
    const std::vector<float> x = gate;
    row_ops(target).gelu_mul(gate.data(), up.data(), std::ssize(gate));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double v = x[i], z = -2.0 * std::sqrt(2.0 / std::numbers::pi) * (v + 0.044715 * v * v * v);
      const double wanted = v / (1.0 + std::exp(z)) * up[i], share = 1.0 / (1.0 + std::exp(-z));
      const double exponent_error = share > 0.0 && std::abs(z) < 88.0 ? 8 * std::abs(z) * share : 0.0;  // beyond: held
      const double cut = std::abs(v * up[i]) * std::exp(-86.0);
      ASSERT_NEAR(gate[i], wanted, (8 + exponent_error) * kU * std::abs(wanted) + cut)
          << simd_target_name(target) << ", gate " << x[i] << ", up " << up[i];
    }
  }
}

// As SiluMul: the product -1.702 g of the exponent is rounded once more, |z| u in exp(z); the sum u + 1 once.
TEST(RowOps, ClampedSwigluMul) {
  std::mt19937_64 random(5);
  for (const SimdTarget target : simd_targets()) {
    std::vector<float> gate, up;
    for (float x = -40.0f; x < 12.0f; x += 0.0271f) gate.push_back(x);
    for (const float special : {0.0f, -0.0f, 7.0f, 1e4f, -1e4f}) gate.push_back(special);
    up = random_floats(std::ssize(gate), random);
    for (float& u : up) u *= 6.0f;  // some beyond the limit
    const std::vector<float> x = gate;
    row_ops(target).clamped_swiglu_mul(gate.data(), up.data(), std::ssize(gate));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double g = std::min(static_cast<double>(x[i]), 7.0), u = std::clamp(static_cast<double>(up[i]), -7.0, 7.0);
      const double z = -1.702 * g, wanted = g / (1.0 + std::exp(z)) * (u + 1.0);
      const double exponent_error = std::abs(z) < 88.0 ? 2 * std::abs(z) : 0.0;
      const double cut = std::abs(g * (u + 1.0)) * std::exp(-86.0);
      ASSERT_NEAR(gate[i], wanted, (9 + exponent_error) * kU * std::abs(wanted) + cut)
          << simd_target_name(target) << ", gate " << x[i] << ", up " << up[i];
    }
  }
}

TEST(RowOps, ScaleIsExact) {
  std::mt19937_64 random(6);
  for (const SimdTarget target : simd_targets()) {
    std::vector<float> x = random_floats(83, random);
    const std::vector<float> before = x;
    row_ops(target).scale(x.data(), 0.3f, 83);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], before[i] * 0.3f) << simd_target_name(target) << ", i " << i;
  }
}

TEST(RowOps, AddIsExact) {
  std::mt19937_64 random(3);
  for (const SimdTarget target : simd_targets()) {
    std::vector<float> x = random_floats(83, random);
    const std::vector<float> before = x, y = random_floats(83, random);
    row_ops(target).add(x.data(), y.data(), 83);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], before[i] + y[i]) << simd_target_name(target) << ", i " << i;
  }
}

}  // namespace
}  // namespace qjl::engine::test
