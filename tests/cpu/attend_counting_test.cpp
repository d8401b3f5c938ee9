// Every token in range enters attention once, and no other: seen without any tolerance that grows with the number of tokens.
//
//   queries 0  ->  every logit is 0, lse = ln(tokens in range): a token too many or too few shows at any length
//   values  e_(t mod d), exact  ->  out[c] = share of the tokens in range with t mod d = c: a token in the wrong place shows
//
// Sums of ones are exact in fp32; what is left is one logarithm and one quotient.
#include "forced_target.hpp"
#include "qjl/attention.hpp"
#include "qjl/codec.hpp"
#include "rounding_terms.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

struct Case {
  const char* cache_type;
  int d, group, tokens, queries, chunk, window;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.cache_type << " d=" << c.d << " group=" << c.group << " tokens=" << c.tokens << " queries=" << c.queries
               << " chunk=" << c.chunk << " window=" << c.window;
  }
};

Rows unit_rows(int heads, int tokens, int d) {
  std::vector<double> numbers(static_cast<std::size_t>(heads) * tokens * d);
  for (int row = 0; row < heads * tokens; ++row) numbers[static_cast<std::size_t>(row) * d + row % tokens % d] = 1.0;
  return make_rows(DType::f16, heads, tokens, d, numbers);
}

void expect_counts(const Case& c, ThreadPool& threads) {
  SCOPED_TRACE(::testing::Message() << c);
  constexpr int kKvHeads = 2;
  const int heads = kKvHeads * c.group, all = c.tokens + c.chunk;
  CacheConfig config;
  config.num_layers = 1;
  config.num_kv_heads = kKvHeads;
  config.head_dim = c.d;
  config.max_pages = all / kTokensPerPage + 1;
  config.codec = codec_config(c.cache_type);
  KvCache cache(config);
  const SequenceId sequence = cache.create();
  Integers random(4);
  const Rows keys = lifelike_rows(random, DType::f16, kKvHeads, all, c.d), values = unit_rows(kKvHeads, all, c.d);
  const Rows queries =
      make_rows(DType::f32, heads, c.queries, c.d, std::vector<double>(static_cast<std::size_t>(heads) * c.queries * c.d));
  cache.append(sequence, 0, keys.view(0, c.tokens), values.view(0, c.tokens), threads);
  std::vector<float> out(static_cast<std::size_t>(heads) * c.queries * c.d, NAN),
      lse(static_cast<std::size_t>(heads) * c.queries, NAN);
  AttendRequest request{.sequence = sequence,
                        .queries = queries.view(),
                        .chunk_keys = {},
                        .chunk_values = {},
                        .out = OutputView::contiguous(out.data(), heads, c.queries, c.d),
                        .lse = lse.data()};
  if (c.chunk > 0) {
    request.chunk_keys = keys.view(c.tokens, c.chunk);
    request.chunk_values = values.view(c.tokens, c.chunk);
  }
  AttendPlan plan;
  attend(cache, 0, {&request, 1}, {.softmax_scale = 0.0f, .logit_soft_cap = 0.0f, .sliding_window = c.window}, plan, threads);
  const bool exact_values = config.codec.value_code == Code::f16;
  for (int row = 0; row < heads * c.queries; ++row) {
    const long long position = all - c.queries + row % c.queries;
    std::vector<double> count(c.d);
    double total = 0.0;
    for (int t = 0; t < all; ++t) {
      if (!oracle::in_range(t, position, c.window)) continue;
      count[t % c.d] += 1.0;
      total += 1.0;
    }
    if (total == 0.0) {
      ASSERT_EQ(lse[row], -std::numeric_limits<float>::infinity()) << "row " << row;
    } else {
      ASSERT_NEAR(lse[row], std::log(total), 4 * kUnit * (1.0 + std::log(total))) << "row " << row << ", in range " << total;
    }
    for (int channel = 0; exact_values && channel < c.d; ++channel) {
      const double share = total == 0.0 ? 0.0 : count[channel] / total;
      ASSERT_NEAR(out[static_cast<std::size_t>(row) * c.d + channel], share, 4 * kUnit * share)
          << "row " << row << " channel " << channel;
    }
  }
}

TEST(AttendCounting, EveryTokenOnce) {
  ThreadPool one(1), three(3);
  int i = 0;
  for (const char* cache_type : {"kl8vf16", "ks2vf16", "f16", "kjlvf16", "k3v2", "paper"}) {
    for (int tokens : {0, 1, 5, 127, 128, 129, 255, 256, 1000, 4096, 5000}) {
      for (int queries : {1, 33}) {
        for (int window : {0, 1, 130, 1024}) {
          const int group = std::array{1, 3, 8, 35}[i % 4], d = std::array{64, 80, 128}[i % 3];
          expect_counts({cache_type, d, group, tokens, queries, i % 2 == 0 ? queries : 0, window}, i % 5 < 2 ? one : three);
          if (HasFailure()) return;
          ++i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace qjl::test
