// merge: results over disjoint tokens are the attention over all, in any order and in place; what is no result is refused.
#include "qjl/merge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "qjl/error.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 3, kTokens = 2, kDim = 5, kRows = kHeads * kTokens;
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Weights and values of a few tokens in doubles, and what attention over them is.
struct Part {
  std::vector<float> out, lse;
  AttendResult view() const { return {TensorView::contiguous(out.data(), DType::f32, kHeads, kTokens, kDim), lse.data(), kTokens}; }
};

struct Logits {
  std::vector<double> score, value;  // [tokens, rows], [tokens, rows, kDim]
};

Logits random_logits(int seed, int count, double spread) {
  Integers random(static_cast<std::uint64_t>(seed));
  Logits all;
  for (int i = 0; i < count * kRows; ++i) all.score.push_back(spread * random.bell());
  for (int i = 0; i < count * kRows * kDim; ++i) all.value.push_back(random.bell());
  return all;
}

// Over tokens [begin, end).
Part attend_over(const Logits& all, int begin, int end) {
  Part part{std::vector<float>(kRows * kDim), std::vector<float>(kRows, kNone)};
  for (int row = 0; begin < end && row < kRows; ++row) {
    double most = all.score[static_cast<std::size_t>(begin * kRows + row)], sum = 0;
    for (int t = begin; t < end; ++t) most = std::max(most, all.score[static_cast<std::size_t>(t * kRows + row)]);
    std::vector<double> out(kDim);
    for (int t = begin; t < end; ++t) {
      const double weight = std::exp(all.score[static_cast<std::size_t>(t * kRows + row)] - most);
      sum += weight;
      for (int c = 0; c < kDim; ++c) {
        out[static_cast<std::size_t>(c)] += weight * all.value[static_cast<std::size_t>((t * kRows + row) * kDim + c)];
      }
    }
    part.lse[static_cast<std::size_t>(row)] = static_cast<float>(most + std::log(sum));
    for (int c = 0; c < kDim; ++c) {
      part.out[static_cast<std::size_t>(row * kDim + c)] = static_cast<float>(out[static_cast<std::size_t>(c)] / sum);
    }
  }
  return part;
}

Part merged(const Part& a, const Part& b) {
  Part whole{std::vector<float>(a.out.size()), std::vector<float>(a.lse.size())};
  merge(a.view(), b.view(), OutputView::contiguous(whole.out.data(), kHeads, kTokens, kDim), whole.lse.data());
  return whole;
}

// Parts are rounded to fp32 once, lse within half a unit of its own size; two shares, two products and a sum of numbers below 4 add a
// few units of 2^-23 each.
void expect_close(const Part& found, const Part& wanted) {
  for (std::size_t i = 0; i < wanted.lse.size(); ++i) {
    const float size = std::max(1.0f, std::abs(wanted.lse[i]));
    EXPECT_NEAR(found.lse[i], wanted.lse[i], 4 * size * 0x1p-23) << i;
    for (std::size_t c = 0; c < kDim; ++c) {
      EXPECT_NEAR(found.out[i * kDim + c], wanted.out[i * kDim + c], 4 * 4 * size * 0x1p-23) << i;
    }
  }
}

TEST(Merge, PartsAreTheWholeInAnyOrder) {
  for (const double spread : {0.1, 3.0, 60.0}) {  // up to parts that hardly count
    const Logits all = random_logits(5, 9, spread);
    const Part a = attend_over(all, 0, 1), b = attend_over(all, 1, 6), c = attend_over(all, 6, 9);
    const Part whole = attend_over(all, 0, 9);
    expect_close(merged(merged(a, b), c), whole);
    expect_close(merged(c, merged(b, a)), whole);
  }
}

TEST(Merge, APartThatSawNothingCountsForNothing) {
  const Part some = attend_over(random_logits(6, 4, 1.0), 0, 4);
  Part none = attend_over({}, 0, 0);
  std::fill(none.out.begin(), none.out.end(), std::nanf(""));
  for (const Part& whole : {merged(some, none), merged(none, some)}) {
    EXPECT_EQ(whole.out, some.out);
    EXPECT_EQ(whole.lse, some.lse);
  }
  const Part nothing = merged(none, none);
  EXPECT_EQ(nothing.out, std::vector<float>(kRows * kDim));
  EXPECT_EQ(nothing.lse, std::vector<float>(kRows, kNone));
}

TEST(Merge, InPlaceAndThroughStrides) {
  const Logits all = random_logits(7, 6, 2.0);
  Part sum = attend_over(all, 0, 2);
  const Part more = attend_over(all, 2, 6), whole = merged(sum, more);
  // The second part as rows of a longer list lie: [tokens, heads, dim], its lse the first columns of wider rows.
  std::vector<float> out(more.out.size()), lse(kHeads * (kTokens + 3));
  for (int head = 0; head < kHeads; ++head) {
    for (int t = 0; t < kTokens; ++t) {
      const int row = head * kTokens + t;
      lse[static_cast<std::size_t>(head * (kTokens + 3) + t)] = more.lse[static_cast<std::size_t>(row)];
      std::copy_n(more.out.begin() + row * kDim, kDim, out.begin() + (t * kHeads + head) * kDim);
    }
  }
  const AttendResult strided{TensorView::token_major(out.data(), DType::f32, kHeads, kTokens, kDim, kHeads * kDim), lse.data(),
                             kTokens + 3};
  merge(sum.view(), strided, OutputView::contiguous(sum.out.data(), kHeads, kTokens, kDim), sum.lse.data());
  EXPECT_EQ(sum.out, whole.out);
  EXPECT_EQ(sum.lse, whole.lse);
}

TEST(Merge, RefusesWhatIsNoPart) {
  const Part good = attend_over(random_logits(8, 3, 1.0), 0, 3);
  std::vector<float> out(good.out.size(), 7.0f);
  const OutputView view = OutputView::contiguous(out.data(), kHeads, kTokens, kDim);
  const auto refused = [&](const AttendResult& part, const OutputView& to, ErrorKind kind, const char* text) {
    try {
      merge(good.view(), part, to, nullptr);
      ADD_FAILURE() << "no error, wanted " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
    EXPECT_EQ(out, std::vector<float>(out.size(), 7.0f)) << text;
  };
  AttendResult wrong = good.view();
  wrong.out.tokens = 1;
  refused(wrong, view, ErrorKind::invalid_argument, "the second result is [3, 1, 5], wanted [3, 2, 5]");
  wrong = good.view();
  wrong.out.dtype = DType::f16;
  refused(wrong, view, ErrorKind::invalid_argument, "16-bit");
  wrong = good.view();
  wrong.out.data = nullptr;
  refused(wrong, view, ErrorKind::invalid_argument, "null address");
  wrong = good.view();
  wrong.lse = nullptr;
  refused(wrong, view, ErrorKind::invalid_argument, "has no lse");
  wrong = good.view();
  wrong.out.device = Device::cuda(1);
  refused(wrong, view, ErrorKind::unsupported, "is on cuda:1, wanted the host");
  refused(good.view(), view.on(Device::cuda()), ErrorKind::unsupported, "out is on cuda:0");
  refused(good.view(), OutputView::contiguous(out.data(), kHeads, kTokens, 4), ErrorKind::invalid_argument, "out is [3, 2, 4]");
  for (const float bad : {std::nanf(""), -kNone}) {
    Part part = good;
    part.lse[3] = bad;
    refused(part.view(), view, ErrorKind::invalid_argument, "in the second result, head 1, token 1");
  }
}

}  // namespace
}  // namespace qjl::test
