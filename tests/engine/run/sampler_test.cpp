// The sampler: each step's meaning on logits worked out by hand, draws against their probabilities, and bad input.
#include "sampler.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "qjl/error.hpp"
#include "token_scores.hpp"

namespace {

using namespace qjl::engine;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Everything off, temperature 1.
SamplingConfig plain() { return {.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f, .seed = 7}; }

// How often each token comes in `draws` draws.
std::map<Token, int> count(const SamplingConfig& config, const std::vector<float>& logits, int draws) {
  Sampler sampler(config);
  std::map<Token, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.sample(logits)];
  return counts;
}

// The tokens that can come at all: 2000 draws of equal logits miss one of at most 8 with probability 8 (7/8)^2000 < 1e-115.
std::vector<Token> possible(const SamplingConfig& config, const std::vector<float>& logits) {
  std::vector<Token> out;
  for (const auto& [token, times] : count(config, logits, 2000)) out.push_back(token);
  return out;
}

using Tokens = std::vector<Token>;

TEST(Sampler, GreedyTakesTheGreatestAndTheLowestOfEquals) {
  SamplingConfig config;
  config.temperature = 0.0f;
  EXPECT_EQ(Sampler(config).sample(std::vector<float>{1, 3, 2}), 1);
  EXPECT_EQ(Sampler(config).sample(std::vector<float>{2, 5, 5, 5}), 1);
  EXPECT_EQ(Sampler(config).sample(std::vector<float>{-kInf, -1e30f, -kInf}), 1);
  EXPECT_EQ(Sampler(config).sample(std::vector<float>{0.0f, -0.0f}), 0);
  std::vector<float> many(1000, -1.0f);
  many[700] = many[300] = many[301] = -0.5f;
  EXPECT_EQ(Sampler(config).sample(many), 300);
  many[999] = 0.25f;
  EXPECT_EQ(Sampler(config).sample(many), 999);
  many[10] = kNan;
  EXPECT_THROW(Sampler(config).sample(many), qjl::Error);
  many[10] = -kNan;
  EXPECT_THROW(Sampler(config).sample(many), qjl::Error);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), -kInf, std::log(5.0f)};
  for (const float temperature : {1.0f, 0.5f, 2.0f}) {
    SamplingConfig config = plain();
    config.temperature = temperature;
    constexpr int kDraws = 40'000;
    std::map<Token, int> counts = count(config, logits, kDraws);
    double total = 0;
    for (const double weight : {1.0, 2.0, 5.0}) total += std::pow(weight, 1.0 / temperature);
    for (const auto& [token, weight] : {std::pair<Token, double>{0, 1.0}, {1, 2.0}, {3, 5.0}}) {
      const double p = std::pow(weight, 1.0 / temperature) / total;
      // Four standard errors of a share of kDraws.
      EXPECT_NEAR(counts[token] / double{kDraws}, p, 4 * std::sqrt(p * (1 - p) / kDraws))
          << "token " << token << " at " << temperature;
    }
    EXPECT_EQ(counts.count(2), 0u) << "-inf came";
  }
}

TEST(Sampler, TopK) {
  SamplingConfig config = plain();
  config.top_k = 2;
  EXPECT_EQ(possible(config, {1.0f, 1.1f, 0.9f, 1.2f}), (Tokens{1, 3}));
  EXPECT_EQ(possible(config, {1.0f, 1.0f, 1.0f, 1.0f}), (Tokens{0, 1}));  // equal logits: the lower tokens stay
  config.top_k = 100;
  EXPECT_EQ(possible(config, {1.0f, 1.0f, 1.0f}), (Tokens{0, 1, 2}));
}

TEST(Sampler, TopP) {
  // Probabilities .5, .25, .125, .125.
  const std::vector<float> logits = {0.0f, std::log(2.0f), 0.0f, std::log(4.0f)};
  SamplingConfig config = plain();
  config.top_p = 0.5f;
  EXPECT_EQ(possible(config, logits), (Tokens{3}));
  config.top_p = 0.51f;
  EXPECT_EQ(possible(config, logits), (Tokens{1, 3}));
  config.top_p = 0.8f;
  EXPECT_EQ(possible(config, logits), (Tokens{0, 1, 3}));
  // The share is of what top-k kept, before the temperature: 2 of 3 reach .5.
  config.top_p = 0.7f;
  config.top_k = 2;
  config.temperature = 3.0f;
  EXPECT_EQ(possible(config, logits), (Tokens{1, 3}));
}

TEST(Sampler, MinP) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), 0.0f, std::log(4.0f)};
  SamplingConfig config = plain();
  config.min_p = 0.49f;
  EXPECT_EQ(possible(config, logits), (Tokens{1, 3}));
  config.min_p = 0.51f;
  EXPECT_EQ(possible(config, logits), (Tokens{3}));
  config.min_p = 0.2f;
  EXPECT_EQ(possible(config, logits), (Tokens{0, 1, 2, 3}));
}

TEST(Sampler, RepeatPenalty) {
  SamplingConfig config;
  config.temperature = 0.0f;
  config.repeat_penalty = 2.0f;
  config.repeat_last_n = 2;
  Sampler sampler(config);
  // 3 / 2 < 2; then 2 / 2 < 3 / 2 ... ; a negative logit is multiplied.
  EXPECT_EQ(sampler.sample(std::vector<float>{3.0f, 2.0f, -1.0f}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{3.0f, 2.0f, -1.0f}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{3.0f, 2.0f, -1.0f}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1.0f, -1.5f, -1.9f}), 2);  // -2, -3, -1.9
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInf, -kInf, -5.0f}), 2);
  // Two of the last two tokens count, however often they came; token 9 is outside these logits.
  sampler.accept(9);
  sampler.accept(1);
  EXPECT_EQ(sampler.sample(std::vector<float>{1.0f, 1.9f}), 0);
}

TEST(Sampler, SeedsRepeat) {
  const std::vector<float> logits(50, 0.0f);
  const auto run = [&](std::uint64_t seed) {
    SamplingConfig config = plain();
    config.seed = seed;
    Sampler sampler(config);
    Tokens out;
    for (int i = 0; i < 20; ++i) out.push_back(sampler.sample(logits));
    return out;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(Sampler, BadInputIsRefused) {
  SamplingConfig config = plain();
  Sampler sampler(config);
  for (const std::vector<float>& logits : std::vector<std::vector<float>>{{}, {-kInf, -kInf}, {0.0f, kNan}, {kInf, 0.0f}}) {
    EXPECT_THROW(sampler.sample(logits), qjl::Error);
  }
  EXPECT_THROW(sampler.accept(-1), qjl::Error);
  const auto refused = [](auto change) {
    SamplingConfig changed;
    change(changed);
    EXPECT_THROW(Sampler{changed}, qjl::Error);
  };
  for (const float bad : {-1.0f, kNan, kInf}) {
    refused([bad](SamplingConfig& c) { c.temperature = bad; });
    refused([bad](SamplingConfig& c) { c.top_p = bad; });
    refused([bad](SamplingConfig& c) { c.min_p = bad; });
    refused([bad](SamplingConfig& c) { c.repeat_penalty = bad; });
  }
  refused([](SamplingConfig& c) { c.top_k = -1; });
  refused([](SamplingConfig& c) { c.top_p = 0.0f; });
  refused([](SamplingConfig& c) { c.repeat_penalty = 0.0f; });
  refused([](SamplingConfig& c) { c.repeat_last_n = -1; });
}

TEST(Sampler, ExtremeNumbersStayFinite) {
  SamplingConfig config = plain();
  config.temperature = 1e-38f;
  config.repeat_penalty = 1e-30f;
  config.min_p = 1.0f;
  Sampler sampler(config);
  sampler.accept(0);
  EXPECT_EQ(sampler.sample(std::vector<float>{3e38f, -3e38f, 1.0f}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1e-38f, -3e38f, -1.0f}), 0);
}

TEST(Sampler, FrequencyAndPresenceCountWhatWasSampled) {
  const std::vector<float> logits = {1.0f, 0.5f, -1.0f};
  SamplingConfig config{.temperature = 0.0f, .frequency_penalty = 0.2f};
  Sampler frequent(config);
  for (int i = 0; i < 5; ++i) frequent.accept(0);  // the prompt does not count
  // After n zeros token 0 has 1 - 0.2 n: the lower token wins at the tie of n = 2.5, that is from n = 3 on token 1 does.
  for (const Token wanted : {0, 0, 0, 1, 0, 1}) EXPECT_EQ(frequent.sample(logits), wanted);
  config = {.temperature = 0.0f, .presence_penalty = 0.75f};
  Sampler present(config);
  for (const Token wanted : {0, 1, 0, 0}) EXPECT_EQ(present.sample(logits), wanted);
  present.forget();
  EXPECT_EQ(present.sample(logits), 0);
}

TEST(Sampler, BiasMaskAndBans) {
  const std::vector<float> logits = {3.0f, 2.0f, 1.0f, 0.0f};
  SamplingConfig config{.temperature = 0.0f, .logit_bias = {{0, -100.0f}, {3, 2.5f}, {400, 5.0f}}};
  EXPECT_EQ(Sampler(config).sample(logits), 3);
  const std::uint32_t odd = 0b1010;
  EXPECT_EQ(Sampler(SamplingConfig{.temperature = 0.0f}).sample(logits, {.mask = {&odd, 1}}), 1);
  const Token banned[] = {0, 1, -1, 99};
  EXPECT_EQ(Sampler(SamplingConfig{.temperature = 0.0f}).sample(logits, {.banned = banned}), 2);
  EXPECT_EQ(Sampler(SamplingConfig{.temperature = 0.0f}).sample(logits, {.mask = {&odd, 1}, .banned = banned}), 3);
  const std::uint32_t none = 0;
  EXPECT_EQ(Sampler(plain()).sample(logits, {.mask = {&none, 1}}), Sampler::kNoToken);
  Sampler drawing(plain());
  for (int i = 0; i < 200; ++i) EXPECT_NE(drawing.sample(logits, {.mask = {&odd, 1}}) % 2, 0);
}

TEST(Sampler, RefusesPenaltiesAndBiasesOutOfRange) {
  for (SamplingConfig config : {SamplingConfig{.frequency_penalty = 2.1f}, SamplingConfig{.presence_penalty = kNan},
                                SamplingConfig{.logit_bias = {{1, 101.0f}}}, SamplingConfig{.logit_bias = {{-1, 1.0f}}}}) {
    EXPECT_THROW(Sampler{config}, qjl::Error);
  }
}

TEST(TokenScores, AreTheLogSoftmaxAndItsGreatest) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), -kInf, std::log(5.0f), std::log(2.0f)};
  const ScoredToken scored = score_token(logits, 4, 3);
  EXPECT_NEAR(scored.logprob, std::log(0.2), 1e-6);
  ASSERT_EQ(scored.top.size(), 3u);
  EXPECT_EQ(scored.top[0].token, 3);
  EXPECT_EQ(scored.top[1].token, 1);
  EXPECT_EQ(scored.top[2].token, 4);
  EXPECT_EQ(scored.top[2].logprob, scored.logprob);
  EXPECT_NEAR(scored.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(score_token(logits, 2, 0).logprob, -kInf);
  EXPECT_EQ(score_token(logits, 0, 20).top.size(), 5u);
}

}  // namespace
