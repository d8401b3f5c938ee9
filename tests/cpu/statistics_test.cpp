// The estimator as a random variable over seeds: unbiased, and as sharp as the tables say.
//
//   bias       mean over 2000 seeds of <q, x^> - <q, x>, within four standard errors
//   variance   d Var / (|q_perp|^2 |x|^2); for isotropic q the mean over q of <q_perp, e>^2 is |q_perp|^2 |e_perp|^2 / (d - 1), so
//              the factor is d / (d - 1) |e_perp|^2 / |x|^2 with e = x^ - x, and no q need be drawn
//   no code of b bits can be below  D / (1 - D), D = 2^(-2b)  (Shannon's distortion, rescaled to be exact along x)
//
// Keys come in pairs +x, -x, so that their page mean is zero and the residuals are the keys. Fixed seeds.
#include <gtest/gtest.h>

#include <random>

#include "qjl/codec.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

struct Moments {
  double count = 0, sum = 0, squares = 0;
  void add(double x) { count += 1, sum += x, squares += x * x; }
  double mean() const { return sum / count; }
  double variance() const { return (squares - sum * sum / count) / (count - 1); }
  double standard_error() const { return std::sqrt(variance() / count); }
};

class Normals {
 public:
  explicit Normals(std::uint64_t seed) : engine_(seed) {}
  double operator()() { return normal_(engine_); }
  oracle::Vector vector(int d) {
    oracle::Vector x(d);
    for (double& number : x) number = (*this)();
    return x;
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

// 64 vectors and their negatives, side by side.
Rows mirrored(const std::vector<oracle::Vector>& vectors) {
  const int d = static_cast<int>(vectors[0].size());
  std::vector<double> numbers;
  for (int t = 0; t < kTokensPerPage; ++t) {
    for (double x : vectors[t / 2 % vectors.size()]) numbers.push_back(t % 2 == 0 ? x : -x);
  }
  return make_rows(DType::f16, 1, kTokensPerPage, d, numbers);
}

double dot(const oracle::Vector& a, const float* b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

CodecConfig with_seed(CodecConfig config, std::uint64_t seed) {
  config.seed = seed;
  return config;
}
CodecConfig sketch_config(SketchConfig::Kind kind, int rows) {
  CodecConfig config = codec_config("paper");
  config.sketch = {.kind = kind, .rows = rows, .outlier_channels = -1, .outlier_rows = 0};
  return config;
}

// ---- bias -------------------------------------------------------------------------------------------------------------------

// Three kinds of vector: like noise, with two loud channels, and all channels alike (the worst for one round of Hadamard).
std::vector<oracle::Vector> fixed_vectors(int d) {
  Normals random(11);
  std::vector<oracle::Vector> x = {random.vector(d), random.vector(d), oracle::Vector(d, 0.75)};
  x[1][3] = 14.0;
  x[1][d / 2] = -9.0;
  return x;
}

void expect_unbiased(const CodecConfig& config, int d, int num_seeds) {
  const std::vector<oracle::Vector> x = fixed_vectors(d);
  const Rows rows = mirrored(x);
  oracle::Vector q = Normals(12).vector(d);
  for (int c = 0; c < d; ++c) q[c] += 0.3 * x[0][c] + 0.1 * x[1][c];
  const Rows query = make_rows(DType::f32, 1, 1, d, q);
  std::vector<Moments> keys(x.size()), values(x.size());
  for (int seed = 1; seed <= num_seeds; ++seed) {
    const PageCodec codec(d, with_seed(config, seed));
    const EncodedPage page = codec.encode(rows.view(), rows.view());
    const std::vector<float> score = codec.score(query.view(), page), value = codec.decode_values(page);
    for (std::size_t i = 0; i < x.size(); ++i) {
      keys[i].add(score[2 * i]);
      values[i].add(dot(query.number, &value[2 * i * d]));
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = oracle::dot(query.number, rows.row(0, static_cast<int>(2 * i)));
    // A log2 scale is off by at most 1/64 octave either way; over the seeds that averages out, where it varies at all: 2^-12.
    // Fine codes take scale and levels together, which shortens a vector by less than half their variance factor: 2^-10.
    const bool fine = config.key_code == Code::l32 || config.key_code == Code::l64;
    const double grain = std::abs(exact) * (fine ? 0x1p-10 : 0x1p-12);
    EXPECT_NEAR(keys[i].mean(), exact, 4 * keys[i].standard_error() + grain) << "keys, vector " << i << " of d=" << d;
    if (oracle::rotated(oracle::Code{static_cast<int>(config.value_code)})) {
      EXPECT_NEAR(values[i].mean(), exact, 4 * values[i].standard_error() + grain) << "values, vector " << i << " of d=" << d;
    }
    EXPECT_GT(keys[i].variance(), 0.0);
  }
}

TEST(Statistics, EveryCodeIsUnbiased) {
  for (const char* cache_type : {"k1v1", "ks2vs2", "kl4vl4", "k3v3", "k4v4", "kt3vt2", "t3v3", "t4v4", "k5v5", "k6v6"}) {
    SCOPED_TRACE(cache_type);
    expect_unbiased(codec_config(cache_type), 128, 2000);
  }
}
TEST(Statistics, DenseFramesAreUnbiased) { expect_unbiased(codec_config("kl8vf16"), 80, 2000); }
TEST(Statistics, SketchesAreUnbiased) {
  for (auto kind : {SketchConfig::Kind::orthogonal, SketchConfig::Kind::gaussian}) {
    SCOPED_TRACE(static_cast<int>(kind));
    expect_unbiased(sketch_config(kind, 64), 64, 2000);
    CodecConfig apart = sketch_config(kind, 96);  // a partial block, and outlier channels sketched apart
    apart.sketch.outlier_channels = 4;
    apart.sketch.outlier_rows = 16;
    expect_unbiased(apart, 64, 2000);
  }
}

// ---- variance ---------------------------------------------------------------------------------------------------------------

double perpendicular_part(const oracle::Vector& x, const float* decoded) {
  const double xx = oracle::dot(x, x), along = dot(x, decoded) / xx;
  double sum = 0.0;
  for (std::size_t c = 0; c < x.size(); ++c) sum += (decoded[c] - along * x[c]) * (decoded[c] - along * x[c]);
  return sum / xx * static_cast<double>(x.size()) / static_cast<double>(x.size() - 1);
}

struct Factors {
  Moments keys, values;
};
Factors variance_factors(const CodecConfig& config, int d, int num_seeds) {
  Factors factors;
  for (int seed = 1; seed <= num_seeds; ++seed) {
    Normals random(1000 + seed);
    std::vector<oracle::Vector> x;
    for (int i = 0; i < kTokensPerPage / 2; ++i) x.push_back(random.vector(d));
    const Rows rows = mirrored(x);
    const PageCodec codec(d, with_seed(config, seed));
    const EncodedPage page = codec.encode(rows.view(), rows.view());
    const std::vector<float> key = codec.decode_keys(page), value = codec.decode_values(page);
    for (int t = 0; t < kTokensPerPage; t += 2) {
      factors.keys.add(perpendicular_part(rows.row(0, t), &key[t * d]));
      factors.values.add(perpendicular_part(rows.row(0, t), &value[t * d]));
    }
  }
  return factors;
}

TEST(Statistics, VarianceFactorsOfTheCodes) {
  const struct {
    const char* cache_type;
    double bits, factor;
  } table[] = {{"k1v1", 1, .571},  {"ks2vs2", 2, .0985}, {"kl4vl4", 2, .129},    {"k3v3", 3, .0327},
               {"k4v4", 4, .0079}, {"kt2vt2", 2, .0858}, {"kt2wvt2w", 2, .0816}, {"t3v3", 3, .0205},
               {"t4v4", 4, .0055}, {"k5v5", 5, .00199},  {"k6v6", 6, .000512}};
  for (const auto& row : table) {
    const Factors measured = variance_factors(codec_config(row.cache_type), 128, 40);
    const double distortion = std::exp2(-2.0 * row.bits), bound = distortion / (1.0 - distortion);
    for (const Moments& side : {measured.keys, measured.values}) {
      std::cout << row.cache_type << " variance factor " << side.mean() << " +- " << side.standard_error() << ", table "
                << row.factor << ", no code below " << bound << "\n";
      EXPECT_LE(side.mean(), 1.05 * row.factor) << row.cache_type;
      EXPECT_GE(side.mean(), bound) << row.cache_type << ": better than any code can be; the measurement is wrong";
    }
  }
}

TEST(Statistics, OrthogonalRowsAreSharperThanGaussian) {
  const double signs = variance_factors(codec_config("k1v1"), 128, 20).keys.mean();
  const double orthogonal = variance_factors(sketch_config(SketchConfig::Kind::orthogonal, 128), 128, 20).keys.mean();
  const double gaussian = variance_factors(sketch_config(SketchConfig::Kind::gaussian, 128), 128, 20).keys.mean();
  std::cout << "variance factor at m = d: s1 " << signs << ", orthogonal " << orthogonal << ", gaussian " << gaussian << "\n";
  EXPECT_LT(signs, 0.5 * gaussian);
  EXPECT_LT(orthogonal, 0.5 * gaussian);
  EXPECT_NEAR(gaussian, std::numbers::pi / 2, 0.05 * std::numbers::pi / 2);
  EXPECT_NEAR(orthogonal, std::numbers::pi / 2 - 1, 0.05 * (std::numbers::pi / 2 - 1));
}

// Var = (pi/2 |q|^2 |k|^2 - <q, k>^2) / m for Gaussian rows, at any angle; the paper does not state it.
TEST(Statistics, VarianceFormulaOfGaussianRows) {
  constexpr int d = 64, m = 64, num_seeds = 4000;
  const oracle::Vector k = Normals(21).vector(d), noise = Normals(22).vector(d);
  for (double along : {0.0, 0.6, 2.0}) {
    oracle::Vector q(d);
    for (int c = 0; c < d; ++c) q[c] = along * k[c] + noise[c] - oracle::dot(noise, k) / oracle::dot(k, k) * k[c];
    const Rows keys = mirrored({k}), query = make_rows(DType::f32, 1, 1, d, q);
    Moments moments;
    for (int seed = 1; seed <= num_seeds; ++seed) {
      const PageCodec codec(d, with_seed(sketch_config(SketchConfig::Kind::gaussian, m), seed));
      moments.add(codec.score(query.view(), codec.encode(keys.view(), keys.view()))[0]);
    }
    const double qk = oracle::dot(query.number, keys.row(0, 0)), qq = oracle::dot(q, q), kk = oracle::dot(k, k);
    const double expected = (std::numbers::pi / 2 * qq * kk - qk * qk) / m;
    // A sample variance of n near-normal numbers has relative standard error sqrt(2 / n).
    EXPECT_NEAR(moments.variance(), expected, 4 * std::sqrt(2.0 / num_seeds) * expected) << "cosine " << qk / std::sqrt(qq * kk);
  }
}

}  // namespace
}  // namespace qjl::test
