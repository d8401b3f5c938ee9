// The string that the library takes for a token is close to the best of all. It takes the best path of one state at the ends, which a
// run over the steps next to them chooses; the oracle tries every state. A wrong one costs on the three or four steps next to the ends,
// of 64: here 1 to 4 % of the whole, and not more than 5.
#include <gtest/gtest.h>

#include <string>

#include "oracle_view.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

constexpr int kDim = 64, kJudged = 12;  // the oracle is slow

// Each with its negative, so that the mean of keys is zero.
Rows mirrored_bells() {
  Integers random(5);
  std::vector<double> numbers;
  for (int t = 0; t < kTokensPerPage; t += 2) {
    for (int c = 0; c < kDim; ++c) numbers.push_back(oracle::round_to_half(random.bell()));
    for (int c = 0; c < kDim; ++c) numbers.push_back(-numbers[numbers.size() - kDim]);
  }
  return make_rows(DType::f16, 1, kTokensPerPage, kDim, numbers);
}

// In the metric of the encoder.
struct Costs {
  std::int64_t taken = 0, best = 0;
};

// number(c): the level that the library gives coordinate c.
template <typename Number>
Costs costs_of(oracle::Code code, int across, const oracle::Matrix& frame, const oracle::Vector& row, const Number& number) {
  const oracle::Vector y = oracle::to_unit(frame, row);
  std::vector<std::int64_t> n(kDim);
  std::vector<int> numbers(kDim);  // by step
  double margin = 1.0;
  for (int c = 0; c < kDim; ++c) {
    const int step = oracle::step_of(code, across, c);
    n[step] = oracle::round_steps(y[c], 8192.0, margin);
    numbers[step] = number(c);
  }
  oracle::TrellisPath path(code, n);
  std::int64_t cost = 0;
  for (int s = 0; s < kDim; ++s) cost += path.metric(n[s], numbers[s]);
  const std::int64_t least = path.cost(path.best());
  EXPECT_GE(cost, least) << "better than all strings: these are not the numbers of one";
  return {cost, least};
}

void expect_close_to_best(const char* cache_type, bool of_keys) {
  const Rows rows = mirrored_bells();
  const CodecConfig config = codec_config(cache_type);
  const EncodedPage bytes = PageCodec(kDim, config).encode(rows.view(), rows.view());
  const oracle::Codec codec(oracle_format(kDim, config), config.seed);
  const oracle::Page page(codec.format, bytes.head, bytes.body);
  Costs all;
  for (int i = 0; i < kJudged; ++i) {
    const int t = 2 * i;
    const Costs costs =
        of_keys ? costs_of(codec.format.key, 4, codec.key_frames[0], rows.row(0, t), [&](int c) { return page.key_number(t, c); })
                : costs_of(codec.format.value, 16, codec.value_frames[t % 8], rows.row(0, t),
                           [&](int c) { return page.value_number(t, c); });
    all.taken += costs.taken;
    all.best += costs.best;
  }
  const std::string what = std::string(of_keys ? "keys of " : "values of ") + cache_type;
  const double ratio = static_cast<double>(all.taken) / static_cast<double>(all.best);
  testing::Test::RecordProperty(what, std::to_string(ratio));
  EXPECT_LE(ratio, 1.05) << what;
}

TEST(Trellis, ValuesTakeAStringCloseToTheBest) {
  for (const char* cache_type : {"kt2vt2", "kt2vt2w", "t3v3", "t4v4"}) expect_close_to_best(cache_type, false);
}

TEST(Trellis, KeysTakeAStringCloseToTheBest) {
  for (const char* cache_type : {"kt2vt2", "kt2wvt2", "kt3vt2", "t4v4"}) expect_close_to_best(cache_type, true);
}

}  // namespace
}  // namespace qjl::test
