// How many Gaussian rows keep |estimate - <q, k>| <= eps |q| |k| with probability 1 - delta: the corrected bound holds, the
// published one (QJL, lemma 3.5) fails.
//
//   q orthogonal to k: the estimate is exactly normal, variance pi / (2 m) |q|^2 |k|^2, so P(failure) = erfc(eps sqrt(m / pi))
//   Monte Carlo: estimate = sqrt(pi/2) / m sum_i (cos g_i + sin h_i) sign(g_i), g and h normal: the law at any angle, |q| = |k| = 1
//   failures among N trials are binomial: four standard deviations are 4 sqrt(N p)
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <numbers>
#include <random>

#include "estimator.hpp"

namespace qjl::test {
namespace {

double normal_law_failure(double eps, double rows) { return std::erfc(eps * std::sqrt(rows / std::numbers::pi)); }

int count_failures(double eps, int rows, double cosine, int trials, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  const double sine = std::sqrt(1.0 - cosine * cosine), constant = std::sqrt(std::numbers::pi / 2.0) / rows;
  int failures = 0;
  for (int trial = 0; trial < trials; ++trial) {
    double sum = 0.0;
    for (int i = 0; i < rows; ++i) {
      const double g = normal(engine), projected_query = cosine * g + sine * normal(engine);
      sum += g < 0.0 ? -projected_query : projected_query;
    }
    failures += std::abs(constant * sum - cosine) > eps;
  }
  return failures;
}

struct Target {
  double eps, delta;
  int trials;  // enough that delta and the true failure are many standard deviations apart
};
constexpr Target kTargets[] = {{.1, 1e-3, 12000}, {.2, 1e-2, 20000}};

TEST(FailureBound, PublishedConstantFails) {
  for (const auto& [eps, delta, trials] : kTargets) {
    const int rows = static_cast<int>(std::ceil(published_rows(eps, delta)));
    const double expected = normal_law_failure(eps, rows) * trials;
    const int failures = count_failures(eps, rows, 0.0, trials, 1);
    std::cout << "eps " << eps << " delta " << delta << ": published m " << rows << ", law " << expected / trials << ", found "
              << static_cast<double>(failures) / trials << "\n";
    EXPECT_NEAR(failures, expected, 4 * std::sqrt(expected));
    EXPECT_GT(failures, delta * trials + 4 * std::sqrt(delta * trials)) << "the published bound would hold";
  }
}

TEST(FailureBound, CorrectedConstantHolds) {
  for (const auto& [eps, delta, trials] : kTargets) {
    const int rows = static_cast<int>(std::ceil(sufficient_rows(eps, delta)));
    EXPECT_LE(normal_law_failure(eps, rows), delta);
    for (double cosine : {0.0, 0.5, 0.95}) {
      const int failures = count_failures(eps, rows, cosine, trials / 2, 2);
      std::cout << "eps " << eps << " delta " << delta << " cosine " << cosine << ": corrected m " << rows << ", found "
                << 2.0 * failures / trials << "\n";
      EXPECT_LE(failures, delta * trials / 2) << "cosine " << cosine;
    }
  }
}

// The counter-example in figures: eps .1, delta .001, m 1115, true failure 7.7e-3; corrected 6.9e-5.
TEST(FailureBound, FiguresOfTheCounterExample) {
  EXPECT_EQ(std::ceil(published_rows(.1, 1e-3)), 1115);
  EXPECT_NEAR(normal_law_failure(.1, 1115), 7.7e-3, 5e-5);
  EXPECT_NEAR(normal_law_failure(.1, sufficient_rows(.1, 1e-3)), 6.9e-5, 5e-7);
}

}  // namespace
}  // namespace qjl::test
