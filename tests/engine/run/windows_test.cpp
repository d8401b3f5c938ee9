// A cache whose windowed layers forget gives the logits of one that keeps all, bit for bit: in one pass, in chunks and token by token,
// after a pass that failed, and in a generator, turn by turn.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "generate.hpp"
#include "qjl/codec.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr std::int64_t kVocab = 96, kContext = 2048;
using Tokens = std::vector<Token>;
struct Stop {};  // what a callback throws

struct WindowsTest : testing::Test {
  std::vector<std::byte> bytes = TinyModel::gemma3().bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads{2};
  CacheConfig keeps = model.cache_config(codec_config("k3v2"), kContext), forgets = forgetting(keeps);
  KvCache whole{keeps}, windowed{forgets};
  SequenceId in_whole = whole.create(), in_windowed = windowed.create();
  Tokens text = random_text(1500);

  static Tokens random_text(std::int64_t count) {
    std::mt19937_64 random(7);
    Tokens out;
    for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % kVocab));
    return out;
  }
  std::vector<float> logits(KvCache& cache, SequenceId sequence, std::span<const Token> tokens) {
    const ForwardItem item{sequence, tokens};
    const auto row = model.forward(cache, {&item, 1}, {}, threads);
    return {row.begin(), row.end()};
  }
  void expect_same(std::int64_t count) {
    const std::span<const Token> next = std::span(text).subspan(static_cast<std::size_t>(whole.num_tokens(in_whole)), count);
    const std::vector<float> wanted = logits(whole, in_whole, next);
    EXPECT_EQ(logits(windowed, in_windowed, next), wanted) << whole.num_tokens(in_whole);
  }
};

TEST_F(WindowsTest, LogitsAreThoseOfACacheThatKeepsAll) {
  EXPECT_EQ(forgets.layer_retention, (std::vector<std::int64_t>{32 + kTurnSlack, 0}));
  for (const std::int64_t count : {700, 1, 1, 130, 1, 300, 77, 1}) expect_same(count);
  EXPECT_EQ(windowed.first_kept(in_windowed, 0), (1211 - 128) / 128 * 128);
  EXPECT_EQ(windowed.first_kept(in_windowed, 1), 0);
  const MemoryReport report = windowed.memory_report();
  EXPECT_EQ(report.windowed.sealed_pages * 9, report.full.sealed_pages);  // pages 8 of 0 .. 8
  EXPECT_EQ(2 * report.full.sealed_pages, whole.memory_report().sealed_pages);
}

TEST_F(WindowsTest, APassThatFailedLeavesWhatTheNextNeeds) {
  expect_same(500);
  for (const int last_layer : {0, 1}) {
    const ForwardItem item{in_windowed, std::span(text).subspan(500, 900)};
    ForwardOptions options;
    options.observe_kv = [&](int layer, std::size_t, const TensorView&, const TensorView&) {
      if (layer == last_layer) throw Stop{};
    };
    EXPECT_THROW(model.forward(windowed, {&item, 1}, options, threads), Stop);
    EXPECT_EQ(windowed.num_tokens(in_windowed), 500);
  }
  // What the first layer had sealed comes back decoded, in both.
  const ForwardItem item{in_whole, std::span(text).subspan(500, 900)};
  const auto stop = [](int layer, std::size_t, const TensorView&, const TensorView&) {
    if (layer == 1) throw Stop{};
  };
  EXPECT_THROW(model.forward(whole, {&item, 1}, {.observe_kv = stop}, threads), Stop);
  for (const std::int64_t count : {1, 1, 300}) expect_same(count);
}

TEST_F(WindowsTest, ATurnThatGoesBackTooFarBeginsAnew) {
  TokenizerData data;
  data.pre = "gpt-2";
  for (int i = 0; i < kVocab; ++i) data.tokens.push_back(std::to_string(i) + ",");
  data.types.assign(kVocab, TokenizerData::Type::normal);
  const Tokenizer tokenizer(std::move(data));
  const GenerateConfig config{.codec = codec_config("k3v2"), .context = kContext, .max_tokens = 10};
  Generator generator(model, tokenizer, threads, config);
  const auto turn = [&](Generator& of, std::int64_t count) {
    return of.continue_text(std::span(text).first(static_cast<std::size_t>(count)), [](std::string_view) {});
  };
  EXPECT_EQ(turn(generator, 700).cached_tokens, 0);
  EXPECT_EQ(turn(generator, 920).cached_tokens, 700);
  EXPECT_EQ(turn(generator, 915).cached_tokens, 914);  // of 929 tokens the last 161 are there, and 128 before 914 are wanted
  const Turn back = turn(generator, 400);
  EXPECT_EQ(back.cached_tokens, 0);
  Generator fresh(model, tokenizer, threads, config);
  EXPECT_EQ(back.text, turn(fresh, 400).text);
}

}  // namespace
}  // namespace qjl::engine::test
