// The judge judged: known answers and identities of the oracle itself, and of the constants that the codec shares with it.
//
//   Philox4x32-10   the three published vectors (Random123, kat_vectors)
//   frames          P P^T = 1;  Lloyd-Max levels: each level is the mean of a normal number between its two thresholds
//   merge           attention over two ranges, merged, is attention over both
#include <gtest/gtest.h>

#include "philox.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

TEST(OracleSelf, PhiloxKnownAnswers) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(oracle::philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t f = 0xffffffff;
  EXPECT_EQ(oracle::philox({f, f, f, f}, {f, f}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(oracle::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(OracleSelf, LibraryDrawsTheSameNumbers) {
  for (std::uint64_t seed : {0ull, 1ull, 240603482ull, 0xfedcba9876543210ull}) {
    for (std::uint32_t stream : {0u, 17u, 129u}) {
      for (std::uint32_t i = 0; i < 300; ++i) {
        ASSERT_EQ(philox_sign(seed, stream, i), oracle::random_sign(seed, stream, i)) << seed << " " << stream << " " << i;
        ASSERT_NEAR(philox_normal(seed, stream, i), oracle::random_normal(seed, stream, i), 1e-14)
            << seed << " " << stream << " " << i;
      }
    }
  }
}

TEST(OracleSelf, FramesAreOrthonormal) {
  for (int d : {64, 80, 96, 128, 256}) {
    for (const oracle::Matrix& p : {oracle::key_frame(5, 1, d), oracle::value_frame(5, 7, d)}) {
      for (int i = 0; i < d; ++i) {
        for (int j = 0; j <= i; ++j) {
          double sum = 0.0;
          for (int c = 0; c < d; ++c) sum += p(i, c) * p(j, c);
          ASSERT_NEAR(sum, i == j ? 1.0 : 0.0, 1e-12) << "d " << d << " rows " << i << " " << j;
        }
      }
    }
  }
}

// Within one unit: half for the level's own rounding, half for that of the thresholds around it.
TEST(OracleSelf, LevelsAreLloydMax) {
  const auto density = [](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi); };
  const auto below = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  for (oracle::Code code : {oracle::Code::l4, oracle::Code::l8, oracle::Code::l16}) {
    const oracle::Book book = oracle::book(code);
    const auto threshold = [&](std::size_t i) { return 0.5 * (book.levels[i - 1] + book.levels[i]) * book.step; };
    for (std::size_t i = 0; i < book.levels.size(); ++i) {
      const double low = i == 0 ? -40.0 : threshold(i), high = i + 1 == book.levels.size() ? 40.0 : threshold(i + 1);
      const double centre = (density(low) - density(high)) / (below(high) - below(low));
      EXPECT_NEAR(centre / book.step, book.levels[i], 1.0) << "code " << static_cast<int>(code) << " level " << i;
    }
  }
}

TEST(OracleSelf, MergedRangesAreTheWhole) {
  Integers random(8);
  std::vector<oracle::Vector> keys, values;
  for (int t = 0; t < 40; ++t) {
    keys.push_back(bell_rows(random, DType::f32, 1, 1, 64).number);
    values.push_back(bell_rows(random, DType::f32, 1, 1, 64).number);
  }
  const oracle::Vector q = bell_rows(random, DType::f32, 1, 1, 64).number;
  const oracle::Rule rule{.scale = 0.125};
  for (int cut : {0, 1, 17, 40}) {
    const auto range = [&](int begin, int end) {
      return oracle::attend(q, {keys.begin() + begin, keys.begin() + end}, {values.begin() + begin, values.begin() + end}, 40,
                            rule);
    };
    const oracle::Attended whole = range(0, 40), merged = oracle::merge(range(0, cut), range(cut, 40));
    EXPECT_NEAR(merged.lse, whole.lse, 1e-13) << "cut " << cut;
    for (int c = 0; c < 64; ++c) ASSERT_NEAR(merged.out[c], whole.out[c], 1e-13) << "cut " << cut << " channel " << c;
  }
}

}  // namespace
}  // namespace qjl::test
