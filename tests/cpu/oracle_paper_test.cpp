// The paper's sketch, outlier channels and min-max values, coded by the library and judged by the oracle.
//
//   bits  sign(S k_in) and sign(S_o k_out), except where a projection lies within its rounding bound of zero
//   norms |k_in|, |k_out|: fp16, relative 2^-11;  values: step (max - min) / 3 and minimum in fp16, numbers the nearest
#include "forced_target.hpp"
#include "oracle_view.hpp"
#include "rounding_terms.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

constexpr double kHalf = 0x1p-11;  // relative rounding error of fp16

class PaperPage {
 public:
  PaperPage(const CodecConfig& config, int d) : config_(config), format(oracle_format(d, config)) {
    Integers random(d);
    std::vector<double> numbers = lifelike_numbers(random, 1, kTokensPerPage, d);
    std::fill_n(numbers.begin() + 9 * d, d, 0.0);  // token 9: nothing to point at
    keys = make_rows(DType::f16, 1, kTokensPerPage, d, numbers);
    numbers = lifelike_numbers(random, 1, kTokensPerPage, d);
    std::fill_n(numbers.begin() + 9 * d, d, 0.5);  // a constant group: step 0
    values = make_rows(DType::f16, 1, kTokensPerPage, d, numbers);
    codec = std::make_unique<PageCodec>(d, config);
    bytes = codec->encode(keys.view(), values.view(), 0);
    const bool gaussian = config.sketch.kind == SketchConfig::Kind::gaussian;
    sketch = std::make_unique<oracle::Sketch>(format, config.seed, gaussian ? oracle::Rows::gaussian : oracle::Rows::orthogonal);
    page = std::make_unique<oracle::Page>(format, bytes.head, bytes.body);
  }

  bool is_outlier(int channel) const {
    for (int i = 0; i < format.outliers; ++i) {
      if (page->outlier_channel(i) == channel) return true;
    }
    return false;
  }

 private:
  CodecConfig config_;

 public:
  oracle::Format format;
  Rows keys, values;
  std::unique_ptr<PageCodec> codec;
  EncodedPage bytes;
  std::unique_ptr<oracle::Sketch> sketch;
  std::unique_ptr<oracle::Page> page;
};

// Bits of S x against those stored; returns the number of ties.
template <typename Bit>
int check_bits(const oracle::Matrix& s, const oracle::Vector& x, const Bit& bit) {
  int ties = 0;
  for (int row = 0; row < s.rows; ++row) {
    oracle::Vector r(s.cols);
    for (int c = 0; c < s.cols; ++c) r[c] = s(row, c);
    const double projection = oracle::dot(r, x), bound = kUnit * (s.cols + 2) * oracle::norm(r) * oracle::norm(x);
    if (bit(row) == (projection < 0.0)) continue;
    ++ties;
    EXPECT_LE(std::abs(projection), bound) << "row " << row << " has the wrong sign";
  }
  return ties;
}

void check_keys(const PaperPage& p) {
  const auto& f = p.format;
  std::vector<oracle::Vector> all;
  for (int t = 0; t < kTokensPerPage; ++t) all.push_back(p.keys.row(0, t));
  const std::vector<int> expected = oracle::largest_channels(all, f.outliers);
  std::vector<int> found;
  for (int i = 0; i < f.outliers; ++i) found.push_back(p.page->outlier_channel(i));
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
  int ties = 0;
  for (int t = 0; t < kTokensPerPage; ++t) {
    SCOPED_TRACE(::testing::Message() << "token " << t);
    oracle::Vector inner = all[t], outer;
    for (int i = 0; i < f.outliers; ++i) {
      outer.push_back(inner[p.page->outlier_channel(i)]);
      inner[p.page->outlier_channel(i)] = 0.0;
    }
    const double rounding = kHalf + f.d * kUnit;  // fp16, after a sum of d squares
    EXPECT_NEAR(p.page->key_norm(t), oracle::norm(inner), oracle::norm(inner) * rounding);
    if (oracle::norm(inner) > 0) ties += check_bits(p.sketch->s, inner, [&](int row) { return p.page->key_bit(t, row); });
    if (f.outliers == 0) continue;
    EXPECT_NEAR(p.page->outlier_norm(t), oracle::norm(outer), oracle::norm(outer) * rounding);
    if (oracle::norm(outer) > 0)
      ties += check_bits(p.sketch->outlier_s, outer, [&](int row) { return p.page->outlier_bit(t, row); });
  }
  std::cout << "ties: " << ties << " of " << kTokensPerPage * (f.m + f.outlier_m) << " signs\n";
  EXPECT_LE(ties, 8);
}

void check_values(const PaperPage& p) {
  for (int t = 0; t < kTokensPerPage; ++t) {
    const oracle::Vector v = p.values.row(0, t);
    for (int begin = 0; begin < p.format.d; begin += 32) {
      const auto [low, high] = std::minmax_element(v.begin() + begin, v.begin() + std::min(begin + 32, p.format.d));
      const double step = (*high - *low) / 3.0, tiny = 0x1p-25;  // half the least fp16
      ASSERT_NEAR(p.page->value_minimum(t, begin), *low, std::abs(*low) * kHalf + tiny) << "token " << t << " channel " << begin;
      ASSERT_NEAR(p.page->value_step(t, begin), step, step * (kHalf + 2 * kUnit) + tiny) << "token " << t << " channel " << begin;
      // The nearest of four points, themselves off by the rounding of the minimum and of three steps.
      const double bound = 0.5 * step + (std::abs(*low) + 3.0 * step) * 2 * kHalf + 4 * tiny;
      for (int c = begin; c < std::min(begin + 32, p.format.d); ++c) {
        const double decoded = p.page->value_minimum(t, c) + p.page->value_step(t, c) * p.page->minmax_number(t, c);
        ASSERT_NEAR(decoded, v[c], bound) << "token " << t << " channel " << c;
      }
    }
  }
}

void check_decoding(const PaperPage& p) {
  const int d = p.format.d;
  Integers random(5);
  const Rows queries = bell_rows(random, DType::f32, 1, 2, d);
  const std::vector<float> keys = p.codec->decode_keys(p.bytes), values = p.codec->decode_values(p.bytes);
  const std::vector<float> scores = p.codec->score(queries.view(), p.bytes);
  const OracleNumbers numbers = read_page(oracle::Codec(p.format, 0), p.sketch.get(), *p.page);
  for (int t = 0; t < kTokensPerPage; ++t) {
    for (int c = 0; c < d; ++c) {
      ASSERT_NEAR(keys[t * d + c], numbers.keys[t][c], kUnit * score_terms(p.format) * numbers.key_reach[t])  // q a unit vector
          << "key token " << t << " channel " << c;
      ASSERT_NEAR(values[t * d + c], numbers.values[t][c], 4.0 * kUnit * numbers.value_reach[t]) << "value token " << t;
    }
    for (int i = 0; i < 2; ++i) {
      const oracle::Vector q = queries.row(0, i);
      ASSERT_NEAR(scores[i * kTokensPerPage + t], oracle::dot(q, numbers.keys[t]),
                  kUnit * score_terms(p.format) * oracle::norm(q) * numbers.key_reach[t])
          << "query " << i << " token " << t;
    }
  }
}

TEST(PaperOracle, PagesAreWhatTheOracleSays) {
  for (auto kind : {SketchConfig::Kind::orthogonal, SketchConfig::Kind::gaussian}) {
    for (int d : {64, 80, 96, 128, 256}) {
      for (int outliers : {-1, 0, 3}) {
        SCOPED_TRACE(::testing::Message() << "kind " << static_cast<int>(kind) << " d " << d << " outliers " << outliers);
        CodecConfig config = codec_config("paper");
        config.sketch.kind = kind;
        config.sketch.outlier_channels = outliers;
        if (outliers == 3) config.sketch.rows = 72, config.sketch.outlier_rows = 8;  // not a multiple of d, and few
        const PaperPage p(config, d);
        ASSERT_EQ(p.page->body_bytes(), static_cast<int>(p.bytes.body.size()));
        check_keys(p);
        check_values(p);
        check_decoding(p);
      }
    }
  }
}

// Equal energies everywhere: the lower channels are taken.
TEST(PaperOracle, EqualChannelsKeepTheLower) {
  constexpr int d = 64;
  const CodecConfig config = codec_config("paper");
  const Rows ones = make_rows(DType::f16, 1, kTokensPerPage, d, std::vector<double>(kTokensPerPage * d, 1.0));
  const EncodedPage bytes = PageCodec(d, config).encode(ones.view(), ones.view(), 0);
  const oracle::Page page(oracle_format(d, config), bytes.head, bytes.body);
  for (int i = 0; i < d / 16; ++i) EXPECT_EQ(page.outlier_channel(i), i);
}

}  // namespace
}  // namespace qjl::test
