// multiply: few and many tokens, several products at once, against decoded weights and a double loop; the same bits for any number
// of threads.
//
// Bound: any order of adding n products errs by at most n u sum |w x|, u = 2^-24; offsets as in matvec_test.
#include <gtest/gtest.h>

#include <cmath>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

constexpr std::int64_t kColumns = 512;

struct Fixture {
  std::mt19937_64 random{3};
  RandomWeight a, b;
  std::vector<float> x, out_a, out_b;
  std::int64_t tokens;

  Fixture(WeightType type, std::int64_t num_tokens)
      : a(type, 200, kColumns, random),
        b(WeightType::q8_0, 33, kColumns, random),
        x(random_floats(num_tokens * kColumns, random)),
        tokens(num_tokens) {}

  void run(int num_threads) {
    ThreadPool threads(num_threads);
    ProductScratch scratch;
    out_a.assign(static_cast<std::size_t>(tokens * 200), NAN);
    out_b.assign(static_cast<std::size_t>(tokens * 40), 5.0f);
    const Product products[] = {{&a.weight, out_a.data(), 200}, {&b.weight, out_b.data(), 40}};
    multiply({products, {x.data(), tokens, kColumns}}, scratch, threads);
  }
};

TEST(Multiply, AgreesWithTheDoubleLoop) {
  const double u = std::ldexp(1.0, -24);
  for (const WeightType type : weight_types()) {
    for (const std::int64_t tokens : {1, 4, 5, 129}) {
      Fixture f(type, tokens);
      f.run(2);
      const std::vector<float> decoded = f.a.decoded();
      for (std::int64_t t = 0; t < tokens; ++t) {
        double sum_x = 0;
        for (std::int64_t i = 0; i < kColumns; ++i) sum_x += std::abs(f.x[static_cast<std::size_t>(t * kColumns + i)]);
        for (std::int64_t r = 0; r < 200; ++r) {
          const ExactDot wanted = exact_dot(decoded.data() + r * kColumns, f.x.data() + t * kColumns, kColumns);
          ASSERT_NEAR(f.out_a[static_cast<std::size_t>(t * 200 + r)], wanted.value,
                      kColumns * u * wanted.magnitude + 32 * u * sum_x)
              << weight_type_name(type) << ", " << tokens << " tokens, token " << t << ", row " << r;
        }
      }
    }
  }
}

TEST(Multiply, KeepsToItsColumnsOfTheOutput) {
  for (const std::int64_t tokens : {3, 20}) {
    Fixture f(WeightType::q4_1, tokens);
    f.run(2);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t r = 33; r < 40; ++r)
        ASSERT_EQ(f.out_b[static_cast<std::size_t>(t * 40 + r)], 5.0f) << "token " << t << ", column " << r;
    }
  }
}

TEST(Multiply, TheSameBitsForAnyNumberOfThreads) {
  for (const std::int64_t tokens : {2, 70}) {
    Fixture one(WeightType::q4_0, tokens), three(WeightType::q4_0, tokens);
    one.run(1);
    three.run(3);
    EXPECT_EQ(one.out_a, three.out_a) << tokens << " tokens";
    EXPECT_EQ(one.out_b, three.out_b) << tokens << " tokens";
  }
}

}  // namespace
}  // namespace qjl::engine::test
