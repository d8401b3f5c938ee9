// Attention of a chunk to itself in bf16 (ChunkProducts::bf16), alone and beside cached tokens, against the oracle's double loop.
//
// Bound: q and k rounded to 8 bits move a score by at most delta = 2^-8 scale sum |q k| (1 % for fp32 sums), so a weight by a
// factor of exp(2 delta) at most; weights and values are rounded by 2^-9 each, the exponential and sums by less than 2^-12.
//   |out - exact| <= (exp(2 delta) - 1 + 2^-8 + 2^-11) max |v|,   |lse - exact| <= delta + 2^-12
// A cap c turns a score by no more than it was off, and its own exponential adds 2^-20 c at most (tanh is good to 4e-7).
// Cached tokens of an exact cache are no further off than the chunk's.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cache_fixtures.hpp"
#include "half.hpp"
#include "oracle_attention.hpp"
#include "qjl/codec.hpp"
#include "qjl/simd.hpp"

namespace qjl::test {
namespace {

struct Shape {
  int heads, kv_heads, d;
  std::int64_t tokens;
  std::int64_t cached = 0;
  AttendOptions options = {};
};

// Token-major, as matrix products leave them; cached tokens first.
struct Prompt {
  Shape s;
  std::vector<float> q, k, v;

  Prompt(const Shape& shape, std::mt19937_64& random) : s(shape) {
    std::normal_distribution<float> normal;
    for (std::vector<float>* side : {&q, &k, &v}) {
      side->resize(static_cast<std::size_t>((s.cached + s.tokens) * (side == &q ? s.heads : s.kv_heads) * s.d));
      for (float& x : *side) x = s.cached == 0 ? normal(random) : half_to_float(float_to_half(normal(random)));
    }
  }
  TensorView view(const std::vector<float>& side, std::int64_t first, std::int64_t count) const {
    const std::int64_t heads = &side == &q ? s.heads : s.kv_heads, width = heads * s.d;
    return TensorView::token_major(side.data() + first * width, DType::f32, heads, count, s.d, width);
  }
  oracle::Vector row(const std::vector<float>& side, std::int64_t token, int head) const {
    const std::int64_t heads = &side == &q ? s.heads : s.kv_heads;
    const float* first = side.data() + (token * heads + head) * s.d;
    return {first, first + s.d};
  }
  CacheConfig config() const {
    CacheConfig config = cache_config("f16", s.d, 16, 1);
    config.num_kv_heads = s.kv_heads;
    return config;
  }
};

struct Result {
  std::vector<float> out, lse;  // [tokens][heads][d], [heads][tokens]
};

AttendOptions in_bf16(AttendOptions options) {
  options.chunk_products = ChunkProducts::bf16;
  return options;
}

class Attention {
 public:
  explicit Attention(const Prompt& prompt) : prompt_(prompt), cache_(prompt.config()), sequence_(cache_.create()) {
    ThreadPool one(1);
    const std::int64_t cached = prompt.s.cached;
    cache_.append(sequence_, 0, prompt.view(prompt.k, 0, cached), prompt.view(prompt.v, 0, cached), one);
  }
  Result run(ThreadPool& threads, const AttendOptions& options, bool with_lse = true) {
    const Shape& s = prompt_.s;
    Result result{std::vector<float>(static_cast<std::size_t>(s.tokens * s.heads * s.d), NAN),
                  std::vector<float>(static_cast<std::size_t>(s.tokens * s.heads), NAN)};
    AttendRequest request;
    request.sequence = sequence_;
    request.queries = prompt_.view(prompt_.q, s.cached, s.tokens);
    request.chunk_keys = prompt_.view(prompt_.k, s.cached, s.tokens);
    request.chunk_values = prompt_.view(prompt_.v, s.cached, s.tokens);
    request.out = OutputView::token_major(result.out.data(), s.heads, s.tokens, s.d, s.heads * s.d);
    request.lse = with_lse ? result.lse.data() : nullptr;
    attend(cache_, 0, {&request, 1}, options, plan_, threads);
    return result;
  }

 private:
  const Prompt& prompt_;
  KvCache cache_;
  SequenceId sequence_;
  AttendPlan plan_;
};

// One query of one head against the oracle.
void check_row(const Prompt& p, const Result& found, std::int64_t query, int head) {
  const Shape& s = p.s;
  const int kv_head = head / (s.heads / s.kv_heads);
  const double scale = s.options.softmax_scale != 0 ? s.options.softmax_scale : 1 / std::sqrt(s.d), cap = s.options.logit_soft_cap;
  const oracle::Vector q = p.row(p.q, s.cached + query, head);
  std::vector<oracle::Vector> keys, values;
  double delta = 0, largest_value = 0;
  for (std::int64_t t = 0; t <= s.cached + query; ++t) {
    keys.push_back(p.row(p.k, t, kv_head));
    values.push_back(p.row(p.v, t, kv_head));
    double magnitude = 0;
    for (std::size_t c = 0; c < q.size(); ++c) magnitude += std::abs(q[c] * keys.back()[c]);
    delta = std::max(delta, 1.01 * std::ldexp(magnitude * std::abs(scale), -8) + std::ldexp(cap, -20));
    for (const double x : values.back()) largest_value = std::max(largest_value, std::abs(x));
  }
  const oracle::Attended wanted = oracle::attend(q, keys, values, s.cached + query, {scale, cap, s.options.sliding_window});
  const double bound = (std::expm1(2 * delta) + std::ldexp(1.0, -8) + std::ldexp(1.0, -11)) * largest_value;
  for (int c = 0; c < s.d; ++c) {
    ASSERT_NEAR(found.out[static_cast<std::size_t>((query * s.heads + head) * s.d + c)], wanted.out[static_cast<std::size_t>(c)],
                bound)
        << s.heads << " heads, d " << s.d << ", token " << query << " of " << s.tokens << " after " << s.cached << ", head " << head
        << ", channel " << c << ", window " << s.options.sliding_window << ", cap " << cap;
  }
  ASSERT_NEAR(found.lse[static_cast<std::size_t>(head * s.tokens + query)], wanted.lse, delta + std::ldexp(1.0, -12));
}

void check(const Shape& s, std::mt19937_64& random) {
  const Prompt p(s, random);
  Attention attention(p);
  ThreadPool two(2), one(1);
  const Result found = attention.run(two, in_bf16(s.options));
  for (std::int64_t t = 0; t < s.tokens; t += s.tokens > 40 ? 7 : 1) {
    for (int head = 0; head < s.heads; ++head) {
      check_row(p, found, t, head);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(found.out, attention.run(one, in_bf16(s.options)).out) << "on one thread, in used memory";
  EXPECT_EQ(found.out, attention.run(two, in_bf16(s.options), false).out) << "without an lse";
  EXPECT_NE(found.out, attention.run(one, s.options).out) << "fp32 is another way";
}

TEST(PromptAttention, AgreesWithTheDoubleLoop) {
  if (!has_bf16_products()) GTEST_SKIP() << "no bf16 products on this processor";
  std::mt19937_64 random(1);
  for (const Shape& s : {Shape{9, 3, 64, 150},
                         {2, 1, 64, 1},
                         {4, 4, 64, 33},
                         {8, 1, 96, 70},
                         {25, 1, 64, 129},
                         {2, 2, 128, 260},
                         {4, 4, 256, 33},
                         {96, 1, 64, 40}}) {
    check(s, random);
  }
}

TEST(PromptAttention, KnowsScaleWindowAndSoftCap) {
  if (!has_bf16_products()) GTEST_SKIP() << "no bf16 products on this processor";
  std::mt19937_64 random(2);
  for (const std::int64_t window : {1, 2, 31, 32, 33, 100, 128, 129, 1000}) {
    check({6, 2, 64, 300, 0, {.sliding_window = window}}, random);
  }
  for (const float cap : {0.5f, 2.0f, 50.0f}) check({3, 1, 64, 140, 0, {.logit_soft_cap = cap}}, random);
  check({4, 1, 256, 200, 0, {.softmax_scale = 0.1f, .logit_soft_cap = 3.0f, .sliding_window = 70}}, random);
}

TEST(PromptAttention, MergesWithCachedTokens) {
  if (!has_bf16_products()) GTEST_SKIP() << "no bf16 products on this processor";
  std::mt19937_64 random(3);
  for (const std::int64_t cached : {1, 128, 200, 700}) {
    check({6, 2, 64, 40, cached}, random);
    for (const std::int64_t window : {1, 20, 41, 300}) check({6, 2, 64, 150, cached, {.sliding_window = window}}, random);
  }
  check({4, 2, 128, 100, 300, {.softmax_scale = 0.2f, .logit_soft_cap = 2.0f, .sliding_window = 150}}, random);
}

// Several sequences of a call, with and without cached tokens and chunks, are each as they are alone.
TEST(PromptAttention, ServesManySequencesAtOnce) {
  std::mt19937_64 random(4);
  const Prompt p({6, 2, 64, 200, 300}, random);
  KvCache cache(p.config());
  ThreadPool one(1);
  AttendPlan plan;
  std::vector<AttendRequest> requests(4);
  std::vector<std::vector<float>> out(4, std::vector<float>(200 * 6 * 64, NAN)), alone = out;
  const std::int64_t cached[] = {0, 300, 200, 130}, tokens[] = {200, 3, 64, 100};
  for (std::size_t i = 0; i < 4; ++i) {
    AttendRequest& r = requests[i];
    r.sequence = cache.create();
    cache.append(r.sequence, 0, p.view(p.k, 0, cached[i]), p.view(p.v, 0, cached[i]), one);
    r.queries = p.view(p.q, 300, tokens[i]);
    if (i != 2) r.chunk_keys = p.view(p.k, 300, tokens[i]), r.chunk_values = p.view(p.v, 300, tokens[i]);
    r.out = OutputView::token_major(out[i].data(), 6, tokens[i], 64, 6 * 64);
  }
  attend(cache, 0, requests, in_bf16({}), plan, one);
  for (std::size_t i = 0; i < 4; ++i) {
    requests[i].out.data = alone[i].data();
    attend(cache, 0, {&requests[i], 1}, in_bf16({}), plan, one);
    EXPECT_EQ(std::memcmp(out[i].data(), alone[i].data(), out[i].size() * sizeof(float)), 0) << i;
  }
}

// The formats hold the same numbers, so the outputs are the same bits.
TEST(PromptAttention, ReadsEveryFormat) {
  std::mt19937_64 random(5);
  const Prompt p({4, 2, 64, 100}, random);
  KvCache cache(p.config());
  ThreadPool two(2);
  AttendPlan plan;
  std::vector<std::vector<float>> out;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    std::vector<float> wide[3];
    std::vector<std::uint16_t> narrow[3];
    TensorView views[3];
    for (int i = 0; i < 3; ++i) {
      const std::vector<float>& side = i == 0 ? p.q : i == 1 ? p.k : p.v;
      for (const float x : side) {
        wide[i].push_back(bfloat_to_float(float_to_bfloat(std::ldexp(std::nearbyint(std::ldexp(x, 4)), -4))));
        narrow[i].push_back(dtype == DType::f16 ? float_to_half(wide[i].back()) : float_to_bfloat(wide[i].back()));
      }
      views[i] = p.view(side, 0, 100);
      views[i].dtype = dtype;
      views[i].data = dtype == DType::f32 ? static_cast<const void*>(wide[i].data()) : narrow[i].data();
    }
    out.emplace_back(p.q.size(), NAN);
    AttendRequest request{cache.create(), views[0], views[1], views[2], OutputView::contiguous(out.back().data(), 4, 100, 64)};
    attend(cache, 0, {&request, 1}, in_bf16({}), plan, two);
  }
  EXPECT_EQ(out[0], out[1]);
  EXPECT_EQ(out[0], out[2]);
}

// Other shapes are attended to in fp32, bit for bit.
TEST(PromptAttention, RefusesOtherShapes) {
  std::mt19937_64 random(6);
  ThreadPool one(1);
  for (const Shape& s : {Shape{2, 1, 80, 20}, {97, 1, 64, 20}}) {
    const Prompt p(s, random);
    Attention attention(p);
    EXPECT_EQ(attention.run(one, in_bf16({})).out, attention.run(one, {}).out) << s.d;
  }
}

TEST(PromptAttention, RefusesNumbersThatTheCacheCannotHold) {
  std::mt19937_64 random(7);
  ThreadPool two(2);
  for (const float bad : {NAN, INFINITY, 70000.0f}) {
    for (const bool of_keys : {true, false}) {
      Prompt p({4, 2, 64, 50}, random);
      (of_keys ? p.k : p.v)[static_cast<std::size_t>((31 * 2 + 1) * 64 + 5)] = bad;
      Attention attention(p);
      const std::string what = error_of([&] { attention.run(two, in_bf16({})); });
      EXPECT_NE(what.find(of_keys ? "[attend] chunk_keys hold " : "[attend] chunk_values hold "), std::string::npos) << what;
      EXPECT_NE(what.find("at head 1, token 31, channel 5, wanted "), std::string::npos) << what;
    }
  }
  Prompt p({4, 2, 64, 50}, random);
  p.q[70] = NAN;
  Attention attention(p);
  EXPECT_NE(error_of([&] { attention.run(two, in_bf16({})); }).find("[attend] queries hold nan at head 1, token 0, channel 6"),
            std::string::npos);
}

}  // namespace
}  // namespace qjl::test
