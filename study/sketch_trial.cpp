// sketch_trial.hpp says what is counted.
#include "sketch_trial.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "qjl/codec.hpp"

namespace qjl::engine {
namespace {

constexpr int kQueries = 64;

struct Counts {
  std::int64_t failures = 0;
  double squares = 0;  // of errors over |q| |k|
};

double dot(const float* a, const float* b, int dim) {
  double sum = 0;
  for (int c = 0; c < dim; ++c) sum += double{a[c]} * b[c];
  return sum;
}

std::vector<float> random_rows(int count, int dim, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<std::size_t>(count) * static_cast<std::size_t>(dim));
  // Through 16 bit, as the codec takes them: eleven bits of significand.
  for (float& x : rows) x = std::ldexp(std::nearbyint(std::ldexp(normal(random), 8)), -8);
  return rows;
}

Counts try_one(int rows, int dim, double eps, std::uint64_t seed) {
  CodecConfig config = codec_config("paper:sketch=gaussian,outliers=0,rows=" + std::to_string(rows));
  config.seed = seed;
  const PageCodec codec(dim, config);
  std::mt19937_64 random(seed);
  const auto keys = random_rows(kTokensPerPage, dim, random), queries = random_rows(kQueries, dim, random);
  const auto page = codec.encode(TensorView::contiguous(keys.data(), DType::f32, 1, kTokensPerPage, dim),
                                 TensorView::contiguous(keys.data(), DType::f32, 1, kTokensPerPage, dim));
  const auto scores = codec.score(TensorView::contiguous(queries.data(), DType::f32, 1, kQueries, dim), page);
  Counts counts;
  for (int i = 0; i < kQueries * kTokensPerPage; ++i) {
    const float *q = queries.data() + i / kTokensPerPage * dim, *k = keys.data() + i % kTokensPerPage * dim;
    const double size = std::sqrt(dot(q, q, dim) * dot(k, k, dim));
    const double error = (scores[static_cast<std::size_t>(i)] - dot(q, k, dim)) / size;
    counts.failures += std::abs(error) > eps ? 1 : 0;
    counts.squares += error * error;
  }
  return counts;
}

}  // namespace

SketchTrials try_sketch(int rows, int head_dim, double eps, int sketches, ThreadPool& threads) {
  std::vector<Counts> counts(static_cast<std::size_t>(sketches));
  threads.run(sketches, [&](std::int64_t i, int) {
    counts[static_cast<std::size_t>(i)] = try_one(rows, head_dim, eps, 1000 + static_cast<std::uint64_t>(i));
  });
  constexpr double kPerSketch = double{kQueries} * kTokensPerPage;
  SketchTrials result;
  double squares = 0, share_squares = 0;
  for (const Counts& one : counts) {
    result.failures += one.failures;
    squares += one.squares;
    share_squares += std::pow(static_cast<double>(one.failures) / kPerSketch, 2);
  }
  result.trials = static_cast<std::int64_t>(kPerSketch) * sketches;
  result.share = static_cast<double>(result.failures) / static_cast<double>(result.trials);
  result.share_se = std::sqrt(std::max(0.0, share_squares / sketches - result.share * result.share) / std::max(1, sketches - 1));
  result.variance = rows * squares / static_cast<double>(result.trials);
  return result;
}

}  // namespace qjl::engine
