// The page mean before RoPE: what it predicts, and that a page's bytes do not depend on where the page stands.
#include <gtest/gtest.h>

#include "cache_config.hpp"
#include "oracle_view.hpp"
#include "qjl/cache.hpp"
#include "qjl/error.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

constexpr int kSinks = 16;  // read as what the mean predicts of them

// One vector u, turned by RoPE as a model turns it at positions first, first + 1, ...
Rows turning_rows(const oracle::Format& f, const oracle::Vector& u, int first) {
  std::vector<double> numbers;
  for (int t = 0; t < kTokensPerPage; ++t) {
    oracle::Vector row = u;
    for (std::size_t i = 0; i < f.turn.size(); ++i) {
      const auto [a, b] = oracle::channels_of(f, static_cast<int>(i));
      const oracle::Complex k = std::polar(1.0, f.turn[i] * (first + t)) * oracle::Complex(u[a], u[b]);
      row[a] = k.real(), row[b] = k.imag();
    }
    numbers.insert(numbers.end(), row.begin(), row.end());
  }
  return make_rows(DType::f32, 1, kTokensPerPage, f.d, numbers);
}

// Between two knots the prediction is a chord: off by (8 w)^2 / 8 of |u| at most, and the least squares stretch it by no more than
// that again. The rest: half an int8 step and fp16 rows. A still pair turns by 0.04 at most over the page.
TEST(MeanTurn, PredictsKeysThatOnlyTurn) {
  for (const KeyRope::Pairs layout : {KeyRope::Pairs::halves, KeyRope::Pairs::interleaved}) {
    for (int pairs : {24, 32}) {
      CodecConfig config = codec_config("k1v1");
      config.rope = rope(pairs, 1e5, layout);
      const oracle::Format f = oracle_format(64, config);
      Integers random(5);
      oracle::Vector u;
      for (int c = 0; c < f.d; ++c) u.push_back(random.bell());
      const Rows keys = turning_rows(f, u, 1280);
      const PageCodec codec(64, config);
      const std::vector<float> found = codec.decode_keys(codec.encode(keys.view(), keys.view(), kSinks));
      oracle::Vector bound(f.d);
      double largest = 0.0;
      for (double x : u) largest = std::max(largest, std::abs(x));
      for (int c = 0; c < f.d; ++c) bound[c] = 1.5 * largest / 127.0;
      for (std::size_t i = 0; i < f.turn.size(); ++i) {
        const auto [a, b] = oracle::channels_of(f, static_cast<int>(i));
        const double length = std::hypot(u[a], u[b]), chord = 8.0 * f.turn[i] * 8.0 * f.turn[i] / 8.0;
        bound[a] += length * (oracle::has_mean(f.turn[i]) ? std::max(2.0 * chord, oracle::turns(f.turn[i]) ? 0.0 : 0.04) : 1.0);
        bound[b] = bound[a];
      }
      for (int t = 0; t < kSinks; ++t) {
        for (int c = 0; c < f.d; ++c) {
          EXPECT_NEAR(found[t * f.d + c], keys.row(0, t)[c], bound[c]) << "pairs " << pairs << " token " << t << " channel " << c;
        }
      }
    }
  }
}

// Without RoPE's frequencies the same keys leave much: the mean of a turning pair is no prediction of it.
TEST(MeanTurn, KnowingTheTurnLeavesLess) {
  CodecConfig turned = codec_config("k2v2"), plain = turned;
  turned.rope = rope(32, 1e4);
  const oracle::Format f = oracle_format(64, turned);
  Integers random(6);
  oracle::Vector u;
  for (int c = 0; c < f.d; ++c) u.push_back(random.bell());
  const Rows keys = turning_rows(f, u, 0);
  const auto error = [&](const CodecConfig& config) {
    const PageCodec codec(64, config);
    const std::vector<float> found = codec.decode_keys(codec.encode(keys.view(), keys.view()));
    double sum = 0.0;
    for (std::size_t i = 0; i < found.size(); ++i) sum += std::pow(found[i] - keys.number[i], 2);
    return sum;
  };
  EXPECT_LT(error(turned), 0.6 * error(plain));
}

// The same rows as pages 1 and 3 of a sequence (page 0 has the sinks).
TEST(MeanTurn, BytesDoNotDependOnThePosition) {
  CacheConfig config;
  config.num_layers = config.num_kv_heads = 1;
  config.head_dim = 64;
  config.max_pages = 4;
  config.codec = turned_config("k3v2", 64);
  KvCache cache(config);
  ThreadPool threads(1);
  const SequenceId sequence = cache.create();
  Integers random(7);
  const Rows odd = lifelike_rows(random, DType::f32, 1, kTokensPerPage, 64), even = lifelike_rows(random, DType::f32, 1, 128, 64);
  for (const Rows* rows : {&even, &odd, &even, &odd}) cache.append(sequence, 0, rows->view(), rows->view(), threads);
  const KvCache::PageBytes first = cache.page(sequence, 0, 0, 1), third = cache.page(sequence, 0, 0, 3);
  EXPECT_TRUE(std::equal(first.head.begin(), first.head.end(), third.head.begin()));
  EXPECT_TRUE(std::equal(first.body.begin(), first.body.end(), third.body.begin()));
  const KvCache::PageBytes second = cache.page(sequence, 0, 0, 2);
  EXPECT_FALSE(std::equal(first.body.begin(), first.body.end(), second.body.begin()));
}

TEST(MeanTurn, RefusesWrongFrequencies) {
  CodecConfig config = codec_config("k3v2");
  for (const double wrong : {-1.0, std::nan(""), HUGE_VAL}) {
    config.rope.frequency = {0.1, wrong};
    EXPECT_THROW(PageCodec(64, config), Error) << wrong;
  }
  config.rope.frequency.assign(33, 0.1);
  EXPECT_THROW(PageCodec(64, config), Error);
  config.rope.frequency.assign(32, 0.1);
  PageCodec codec(64, config);
}

}  // namespace
}  // namespace qjl::test
