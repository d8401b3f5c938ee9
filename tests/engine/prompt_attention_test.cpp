// Attention of a prompt to itself in bf16 against a double loop.
//
// Bound: q and k rounded to 8 bits move a score by at most delta = 2^-8 sum |q k| / sqrt(d) (1 % for fp32 sums), so a weight by a
// factor of exp(2 delta) at most; weights and values are rounded by 2^-9 each, the exponential and sums by less than 2^-12.
//   |out - exact| <= (exp(2 delta) - 1 + 2^-8 + 2^-11) max |v|
#include "prompt_attention.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

struct Shape {
  int heads, kv_heads, d;
  std::int64_t tokens;
};

struct Row {
  std::vector<double> out;
  double delta = 0, largest_value = 0;
};

Row exact_row(const PromptAttention& p, std::int64_t query, int head) {
  const int kv_head = head / (p.num_heads / p.num_kv_heads);
  std::vector<double> weights;
  Row row{std::vector<double>(static_cast<std::size_t>(p.head_dim))};
  double sum = 0;
  for (std::int64_t t = 0; t <= query; ++t) {
    const ExactDot dot = exact_dot(p.queries + (query * p.num_heads + head) * p.head_dim,
                                   p.keys + (t * p.num_kv_heads + kv_head) * p.head_dim, p.head_dim);
    row.delta = std::max(row.delta, 1.01 * std::ldexp(dot.magnitude / std::sqrt(p.head_dim), -8));
    weights.push_back(std::exp(dot.value / std::sqrt(p.head_dim)));
    sum += weights.back();
  }
  for (std::int64_t t = 0; t <= query; ++t) {
    for (int c = 0; c < p.head_dim; ++c) {
      const double value = p.values[(t * p.num_kv_heads + kv_head) * p.head_dim + c];
      row.largest_value = std::max(row.largest_value, std::abs(value));
      row.out[static_cast<std::size_t>(c)] += weights[static_cast<std::size_t>(t)] / sum * value;
    }
  }
  return row;
}

TEST(PromptAttention, AgreesWithTheDoubleLoop) {
  if (!can_attend_prompt(1, 1, 64)) GTEST_SKIP() << "no bf16 products on this processor";
  std::mt19937_64 random(1);
  for (const Shape s : {Shape{9, 3, 64, 150}, {2, 1, 64, 1}, {4, 4, 32, 33}, {8, 1, 96, 70}, {25, 1, 64, 129}, {2, 2, 128, 260}}) {
    const std::vector<float> q = random_floats(s.tokens * s.heads * s.d, random),
                             k = random_floats(s.tokens * s.kv_heads * s.d, random),
                             v = random_floats(s.tokens * s.kv_heads * s.d, random);
    std::vector<float> out(q.size(), NAN), again(q.size(), NAN);
    const PromptAttention p{q.data(), k.data(), v.data(), out.data(), s.tokens, s.heads, s.kv_heads, s.d};
    PromptScratch scratch;
    ThreadPool two(2), one(1);
    attend_prompt(p, scratch, two);
    for (std::int64_t t = 0; t < s.tokens; t += s.tokens > 40 ? 7 : 1) {
      for (int head = 0; head < s.heads; ++head) {
        const Row row = exact_row(p, t, head);
        const double bound = (std::expm1(2 * row.delta) + std::ldexp(1.0, -8) + std::ldexp(1.0, -11)) * row.largest_value;
        for (int c = 0; c < s.d; ++c) {
          ASSERT_NEAR(out[static_cast<std::size_t>((t * s.heads + head) * s.d + c)], row.out[static_cast<std::size_t>(c)], bound)
              << s.heads << " heads, d " << s.d << ", token " << t << " of " << s.tokens << ", head " << head << ", channel " << c;
        }
      }
    }
    attend_prompt({q.data(), k.data(), v.data(), again.data(), s.tokens, s.heads, s.kv_heads, s.d}, scratch, one);
    EXPECT_EQ(out, again) << "on one thread, in used memory";
  }
}

TEST(PromptAttention, RefusesOtherShapes) {
  EXPECT_FALSE(can_attend_prompt(2, 1, 80));
  EXPECT_FALSE(can_attend_prompt(97, 1, 64));
}

}  // namespace
}  // namespace qjl::engine::test
