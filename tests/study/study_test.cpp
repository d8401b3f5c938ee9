// What the studies compute, on a tiny random model and on caches whose damage can be written down.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache_version.hpp"
#include "distortion.hpp"
#include "eval.hpp"
#include "finite.hpp"
#include "inspect.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "retrieval.hpp"
#include "sensitivity.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

std::vector<Token> tokens(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Token> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % 96));
  return out;
}

struct StudyTest : testing::Test {
  std::vector<std::byte> bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads{2};

  CacheConfig shape(int sequences = 1) const { return model.cache_config(codec_config("f16"), 512, sequences); }
  TrialCache trial(const std::string& type, int sequences = 1) const { return TrialCache(type, model.config(), shape(sequences)); }

  CapturedLayer first_layer(std::span<const Token> ids, std::int64_t queries = 16) {
    CapturedLayer first;
    capture(model, ids, queries, threads, [&](const CapturedLayer& layer) {
      if (layer.layer == 0) first = layer;
    });
    return first;
  }
};

// In layer 0 a key before RoPE depends on its token alone. Turning forth and back rounds each number a few times: 8 eps |k|.
TEST_F(StudyTest, KeysBeforeRopeDependOnTheTokenAlone) {
  std::vector<Token> ids = tokens(200, 1);
  ids[150] = ids[3];
  const CapturedLayer layer = first_layer(ids);
  EXPECT_EQ(layer.queries.heads, 2);
  EXPECT_EQ(layer.queries.tokens, 16);
  const CapturedRows before = keys_before_rope(model.config().layers[0].rope, layer.keys);
  double norm = 0, turned = 0, difference = 0;
  for (std::size_t c = 0; c < 64; ++c) {
    const double a = before.row(0, 3)[c], b = before.row(0, 150)[c];
    norm += a * a;
    difference += (a - b) * (a - b);
    turned += std::pow(layer.keys.row(0, 3)[c] - layer.keys.row(0, 150)[c], 2);
  }
  EXPECT_LE(std::sqrt(difference), 8 * 0x1p-24 * std::sqrt(norm) * 8);
  EXPECT_GT(turned, 0.1 * norm);
}

// An exact cache that changes what it seals: keys moved by one vector, which cancels in the softmax, values half as large again.
// The stored numbers are rounded to 16 bit: 2^-11 relative.
TEST_F(StudyTest, DistortionOfAWrittenDamage) {
  const CapturedLayer layer = first_layer(tokens(256, 2));
  CacheConfig config = shape();
  config.on_seal = [](const SealingPage& page) {
    for (float& x : page.keys) x += 0.25f;
    for (float& x : page.values) x *= 1.5f;
  };
  TrialCache moved("moved", config), exact("f16", shape());
  const Distortion d = compare_layer(moved, layer, 4, threads);
  double energy = 0;
  for (std::int64_t t = 4; t < 256; ++t) {
    for (const float x : layer.keys.row(0, t)) energy += double{x} * x;
  }
  const double wanted = std::sqrt(252 * 64 * 0.0625 / energy);
  EXPECT_NEAR(d.key_error, wanted, 0x1p-10 * (1 + wanted));
  EXPECT_NEAR(d.value_error, 0.5, 0x1p-9);
  EXPECT_LE(d.score_error, 0.01);  // |q| of 8, |k| of 8, rounded: 64 / 8 * 2^-11 * 2, and the vector's own rounding
  EXPECT_NEAR(d.output_error, 0.5, 0.02);
  const Distortion none = compare_layer(exact, layer, 4, threads);
  EXPECT_LE(none.key_error, 0x1p-11);
  EXPECT_LE(none.value_error, 0x1p-11);
}

TEST_F(StudyTest, MoreBitsAreCloserAndHeadsAddUp) {
  const CapturedLayer layer = first_layer(tokens(256, 3));
  double last = 1;
  for (const char* type : {"k2v2", "k3v3", "k4v4"}) {
    TrialCache all = trial(type), by_head = trial(type);
    const Distortion d = compare_layer(all, layer, 4, threads);
    const auto heads = compare_heads(by_head, layer, 4, threads);
    ASSERT_EQ(heads.size(), 1u);  // the tiny model has one kv head: the two must be the same numbers
    EXPECT_EQ(heads[0].score_error, d.score_error) << type;
    EXPECT_LT(d.key_error, last) << type;
    last = d.key_error;
  }
}

TEST_F(StudyTest, SensitivityListsLayersSidesAndCodes) {
  SensitivityConfig config{.context = 300, .prompt = 200};
  config.key_codes = {Code::f16, Code::s2};
  config.value_codes = {Code::l8};
  config.caches_at_once = 4;
  const auto damages = measure_sensitivity(model, tokens(300, 4), config, threads, {});
  ASSERT_EQ(damages.size(), 6u);
  for (std::size_t i = 0; i < damages.size(); ++i) {
    EXPECT_EQ(damages[i].layer, static_cast<int>(i / 3));
    EXPECT_EQ(damages[i].side, i % 3 < 2 ? CacheSide::keys : CacheSide::values);
  }
  EXPECT_LE(damages[0].kld_mean, 1e-6);  // nothing is coded: the arithmetic in other chunks
  EXPECT_GT(damages[1].kld_mean, 1e-5);
  EXPECT_EQ(damages[0].bits, 16.0);
  EXPECT_EQ(damages[2].bits, 3.125);  // 3 bits and a scale of 8 bits for 64 numbers
  config.layers = {2};
  EXPECT_THROW(measure_sensitivity(model, tokens(300, 4), config, threads, {}), Error);
}

// The exact cache answers what plain greedy decoding gives, and a question whose answer is another is wrong.
TEST_F(StudyTest, RetrievalIsGreedyDecoding) {
  const std::vector<Token> context = tokens(200, 5);
  std::vector<RetrievalQuestion> questions;
  for (const Token last : {7, 11}) {
    RetrievalQuestion question{context, {}};
    question.prompt.push_back(last);
    KvCache cache(shape());
    std::vector<Token> next = question.prompt;
    const SequenceId sequence = cache.create();
    for (int i = 0; i < 3; ++i) {
      const ForwardItem item{sequence, next};
      const auto logits = model.forward(cache, {&item, 1}, {}, threads);
      next = {static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
      question.answer.push_back(next[0]);
    }
    questions.push_back(question);
  }
  questions.push_back(questions[0]);
  questions.back().answer[1] = (questions.back().answer[1] + 1) % 96;
  std::vector<TrialCache> trials;
  trials.push_back(trial("f16", 2));
  trials.push_back(trial("k4v4", 2));
  const auto answers = ask_caches(model, questions, trials, threads, {});
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_TRUE(answers[0][0].right);
  EXPECT_TRUE(answers[0][1].right);
  EXPECT_FALSE(answers[0][2].right);
  EXPECT_EQ(answers[1][2].tokens.size(), 3u);
  EXPECT_EQ(longest_sequence(questions), 204);
}

TEST(ChannelStatistics, OfWrittenRows) {
  CapturedRows rows{1, 256, 4, {}};
  for (int t = 0; t < 256; ++t) {
    const float sign = t % 2 == 0 ? 1.0f : -1.0f, by_page = t < 128 ? 1.0f : -1.0f;
    rows.numbers.insert(rows.numbers.end(), {8.0f, sign, 2.0f * by_page, sign});
  }
  const ChannelStatistics s = channel_statistics(rows, 0, 0);
  EXPECT_EQ(s.magnitude, (std::vector<double>{8, 1, 2, 1}));
  EXPECT_DOUBLE_EQ(s.outlier_ratio, 8.0);
  EXPECT_DOUBLE_EQ(s.mean_share, 64.0 / 70);
  EXPECT_DOUBLE_EQ(s.page_mean_share, 68.0 / 70);
}

TEST_F(StudyTest, VersionsFollowTheBytes) {
  const auto version = [&](const char* type) {
    TrialCache cache = trial(type);
    return cache_version(cache, threads);
  };
  EXPECT_EQ(version("k3v2"), version("k3v2"));
  EXPECT_NE(version("k3v2"), version("k3v2:seed=7"));
  EXPECT_NE(version("k3v2"), version("k3v3"));
  EXPECT_NE(version("q4_0"), version("int4"));
}

// What a measurement refuses to count.
TEST(Finite, OneNumberThatIsNoneIsTold) {
  std::vector<float> numbers(1000, -3.5f);
  numbers[10] = std::numeric_limits<float>::max();
  numbers[11] = -std::numeric_limits<float>::denorm_min();
  EXPECT_NO_THROW(require_finite(numbers, "logits"));
  EXPECT_NO_THROW(require_finite({}, "logits"));
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{500}, numbers.size() - 1}) {
      std::vector<float> some = numbers;
      some[at] = bad;
      EXPECT_THROW(require_finite(some, "logits"), Error) << bad << " at " << at;
    }
  }
}

// A token that the model has no row for would be read beside its logits.
TEST(Evaluate, EveryTokenIsOfTheVocabulary) {
  const std::vector<std::byte> bytes = TinyModel().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads(1);
  std::vector<Token> text(140, 3);
  const EvalConfig config{.context = 140, .prompt = 100, .caches = {"k3v2"}};
  EXPECT_NO_THROW(evaluate(model, text, config, threads, {}));
  for (const Token bad : {Token{96}, Token{-1}}) {
    text.back() = bad;
    EXPECT_THROW(evaluate(model, text, config, threads, {}), Error) << bad;
  }
  text.back() = 95;
  for (const std::int64_t prompt : {std::int64_t{-1}, std::int64_t{139}}) {
    EXPECT_THROW(evaluate(model, text, {.context = 140, .prompt = prompt, .caches = {"k3v2"}}, threads, {}), Error) << prompt;
  }
}

}  // namespace
}  // namespace qjl::engine::test
