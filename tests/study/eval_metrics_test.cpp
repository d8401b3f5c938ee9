// Divergences and errors on distributions whose answers can be written down.
#include "eval_metrics.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace qjl::engine {
namespace {

std::vector<float> logs(std::initializer_list<double> shares, double shift) {
  std::vector<float> out;
  for (const double share : shares) out.push_back(static_cast<float>(std::log(share) + shift));
  return out;
}

LogitComparison compare(const std::vector<float>& p, const std::vector<float>& q) {
  return compare_logits(p, log_sum_exp(p), q, log_sum_exp(q));
}

// fp32 logits near 8 are rounded by 2^-22: the answer moves by less than 1e-6
TEST(EvalMetrics, DivergenceOfWrittenDistributions) {
  const auto p = logs({0.5, 0.25, 0.25}, 3.0), q = logs({0.25, 0.5, 0.25}, -5.0);
  EXPECT_NEAR(compare(p, q).kld, 0.5 * std::log(2.0) - 0.25 * std::log(2.0), 1e-6);
  EXPECT_FALSE(compare(p, q).same_top1);
  EXPECT_NEAR(compare(p, p).kld, 0.0, 1e-15);
  EXPECT_TRUE(compare(p, logs({0.8, 0.1, 0.1}, 0.0)).same_top1);
  EXPECT_NEAR(compare(p, logs({0.8, 0.1, 0.1}, 7.0)).kld, 0.5 * std::log(0.5 / 0.8) + 0.5 * std::log(2.5), 1e-6);
}

TEST(EvalMetrics, ZeroSharesAndLargeLogits) {
  const std::vector<float> sure = {1e4f, 0.0f, -1e4f}, even = {0.0f, 0.0f, 0.0f};
  EXPECT_DOUBLE_EQ(log_sum_exp(sure), 1e4);
  EXPECT_NEAR(compare(sure, even).kld, std::log(3.0), 1e-12);
  EXPECT_TRUE(std::isfinite(compare(even, sure).kld));
}

// A tiny divergence between nearly equal distributions is not lost to rounding: KL = sum p d^2 / 2 for log-ratios d.
TEST(EvalMetrics, SmallDivergenceOverALargeVocabulary) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> p(50000), q(50000);
  double moment = 0, square = 0, total = 0;
  for (std::size_t v = 0; v < p.size(); ++v) {
    p[v] = normal(random);
    q[v] = p[v] + 1e-3f * normal(random);
    const double share = std::exp(static_cast<double>(p[v])), d = static_cast<double>(q[v]) - p[v];
    total += share;
    moment += share * d;
    square += share * d * d;
  }
  const double wanted = (square / total - moment / total * moment / total) / 2;  // third order: 1e-9, a share of 2e-3
  EXPECT_NEAR(compare(p, q).kld, wanted, wanted * 5e-3);
}

TEST(EvalMetrics, ErrorOverPages) {
  // Positions 100..127 | 128..255 | 256..299: three pages with means 1, 2, 6.
  std::vector<double> values;
  for (int i = 0; i < 28; ++i) values.push_back(1.0);
  for (int i = 0; i < 128; ++i) values.push_back(2.0);
  for (int i = 0; i < 44; ++i) values.push_back(6.0);
  const PagedMean result = paged_mean(values, 100);
  const double mean = (28.0 + 256 + 264) / 200;
  EXPECT_DOUBLE_EQ(result.mean, mean);
  ASSERT_EQ(result.by_page.size(), 3u);
  EXPECT_EQ(result.by_page, (std::vector<double>{1.0, 2.0, 6.0}));
  const auto squared = [](double x) { return x * x; };
  const double squares = squared(28 * (1 - mean)) + squared(128 * (2 - mean)) + squared(44 * (6 - mean));
  EXPECT_NEAR(result.se, std::sqrt(1.5 * squares) / 200, 1e-12);
}

// One page: independent positions, se = deviation / sqrt(n).
TEST(EvalMetrics, ErrorOfOnePage) {
  const PagedMean result = paged_mean(std::vector<double>{1.0, 3.0, 1.0, 3.0}, 0);
  EXPECT_DOUBLE_EQ(result.mean, 2.0);
  EXPECT_NEAR(result.se, std::sqrt(4.0 / 3.0) / 2.0, 1e-12);
  EXPECT_EQ(paged_mean(std::vector<double>{5.0}, 0).se, 0.0);
  EXPECT_TRUE(paged_mean({}, 0).by_page.empty());
}

TEST(EvalMetrics, NearestRank) {
  std::vector<double> values;
  for (int i = 1000; i >= 1; --i) values.push_back(i);
  EXPECT_EQ(nearest_rank(values, 0.5), 500.0);
  EXPECT_EQ(nearest_rank(values, 0.999), 999.0);
  EXPECT_EQ(nearest_rank(values, 1.0), 1000.0);
  EXPECT_EQ(nearest_rank(values, 0.0), 1.0);
  EXPECT_EQ(nearest_rank({3.0, 1.0, 2.0}, 0.5), 2.0);
}

}  // namespace
}  // namespace qjl::engine
