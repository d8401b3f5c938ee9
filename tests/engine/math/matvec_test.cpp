// matvec on every instruction set of this machine against decoded weights and a double loop.
//
// Bound: a lane adds columns / 16 products one after another and 16 lanes are added in 4 steps, so with u = 2^-24 the error is at
// most (columns / 16 + 8) u sum |w x|. A format with an offset may round d q + m once instead of twice: another u (15 |d| + |m|)
// |x| <= 32 u |x|.
#include <gtest/gtest.h>

#include <cmath>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

struct Case {
  std::int64_t rows, columns;
  int tokens;
};

void check(WeightType type, const Case& c, SimdTarget target) {
  std::mt19937_64 random(static_cast<std::uint64_t>(type) * 1000 + static_cast<std::uint64_t>(c.rows + c.tokens));
  const RandomWeight w(type, c.rows, c.columns, random);
  const std::int64_t stride = c.columns + 5;
  const std::vector<float> x = random_floats(stride * c.tokens, random), decoded = w.decoded();
  std::vector<float> out(static_cast<std::size_t>(c.rows * c.tokens), NAN);
  matvec({&w.weight, 0, c.rows, {x.data(), c.tokens, stride}, out.data(), c.rows}, target);
  const double u = std::ldexp(1.0, -24);
  for (int t = 0; t < c.tokens; ++t) {
    double sum_x = 0;
    for (std::int64_t i = 0; i < c.columns; ++i) sum_x += std::abs(x[static_cast<std::size_t>(t * stride + i)]);
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const ExactDot wanted = exact_dot(decoded.data() + r * c.columns, x.data() + t * stride, c.columns);
      const double bound = (static_cast<double>(c.columns) / 16 + 8) * u * wanted.magnitude + 32 * u * sum_x;
      ASSERT_NEAR(out[static_cast<std::size_t>(t * c.rows + r)], wanted.value, bound)
          << weight_type_name(type) << " on " << simd_target_name(target) << ", rows " << c.rows << ", columns " << c.columns
          << ", token " << t << ", row " << r;
    }
  }
}

TEST(Matvec, EveryTypeOnEveryTarget) {
  for (const SimdTarget target : simd_targets()) {
    for (const WeightType type : weight_types()) {
      for (const Case c : {Case{1, 256, 1}, Case{7, 256, 2}, Case{13, 768, 1}, Case{6, 512, 3}, Case{9, 1536, 4}})
        check(type, c, target);
    }
  }
}

TEST(Matvec, ColumnsThatAreNoWholeRegisters) {
  for (const SimdTarget target : simd_targets()) {
    for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16}) {
      for (const Case c : {Case{5, 1, 1}, Case{5, 31, 4}, Case{5, 33, 2}, Case{3, 300, 1}}) check(type, c, target);
    }
    for (const WeightType type : {WeightType::q8_0, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0})
      check(type, {5, 32, 4}, target);
  }
}

// A part of the rows leaves the others alone.
TEST(Matvec, WritesItsRowsOnly) {
  std::mt19937_64 random(1);
  const RandomWeight w(WeightType::q4_1, 40, 64, random);
  const std::vector<float> x = random_floats(64, random);
  std::vector<float> out(40, 7.0f), all(40);
  matvec({&w.weight, 0, 40, {x.data(), 1, 64}, all.data(), 40});
  matvec({&w.weight, 11, 30, {x.data(), 1, 64}, out.data(), 40});
  for (std::size_t r = 0; r < 40; ++r) EXPECT_EQ(out[r], r >= 11 && r < 30 ? all[r] : 7.0f) << "row " << r;
}

}  // namespace
}  // namespace qjl::engine::test
