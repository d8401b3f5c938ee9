// The string that the encoder of trellis codes takes is close to the best of all: the best path of each state at the ends is tried. A
// wrong state at the ends costs on the three or four steps next to them, of 64; here 1 to 3 % of the whole.
#include <gtest/gtest.h>

#include <random>

#include "oracle.hpp"

namespace qjl::test {
namespace {

std::vector<std::int64_t> normal_steps(std::mt19937_64& random, int d) {
  std::normal_distribution<double> normal;
  std::vector<std::int64_t> n(d);
  for (std::int64_t& each : n) each = std::llround(std::clamp(normal(random), -2.9, 2.9) * 8192.0);
  return n;
}

TEST(Trellis, TheJunctionCostsLittle) {
  for (const oracle::Code code : {oracle::Code::t2, oracle::Code::t2w, oracle::Code::t3}) {
    std::mt19937_64 random(5);
    std::int64_t taken = 0, best = 0;
    for (int i = 0; i < 12; ++i) {
      oracle::TrellisPath path(code, normal_steps(random, 64));
      const std::vector<int> windows = path.windows();
      const int k = oracle::bits_of_coordinate(code), kept = oracle::trellis(code).window() - k;
      for (std::size_t s = 0; s < windows.size(); ++s) {  // a window begins with what the one before it ends with
        ASSERT_EQ(windows[(s + 1) % windows.size()] & ((1 << kept) - 1), windows[s] >> k);
      }
      taken += path.cost(windows);
      best += path.cost(path.best());
      ASSERT_LE(path.cost(path.best()), path.cost(windows));
    }
    std::cout << "code " << static_cast<int>(code) << ": cost " << taken << " of a least " << best << "\n";
    EXPECT_LE(static_cast<double>(taken), 1.05 * static_cast<double>(best));
  }
}

}  // namespace
}  // namespace qjl::test
