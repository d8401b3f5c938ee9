// The generation loop on a tiny random model, against a greedy loop of the test's own that processes the whole text anew for every
// token, on an exact cache.
//
// Other chunks add in another order: logits differ by less than 2^-8 (derived in forward_test.cpp). The reference refuses a step
// whose two best logits are closer than twice that, so equal tokens are demanded where they must be equal.
#include "generate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "byte_alphabet.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"
#include "utf8.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kSafeGap = 2.0 / 256;
constexpr std::int64_t kVocab = 96;
using Tokens = std::vector<Token>;
struct Stop {};  // what a callback throws

Tokens prompt_of(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Tokens out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % kVocab));
  return out;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Tokens first(const Tokens& tokens, std::int64_t count) { return {tokens.begin(), tokens.begin() + count}; }

// With an output matrix of its own, the tied one mostly repeats the last token; and with more attention, or answers run in circles.
std::vector<std::byte> model_bytes() {
  TinyModel tiny;
  tiny.matrix("output.weight", kVocab, 128, 3.0);
  for (const std::string layer : {"blk.0.", "blk.1."}) tiny.matrix(layer + "attn_output.weight", 128, 128, 4.0);
  return tiny.bytes();
}

// Token i is "i," so that a text tells its tokens.
TokenizerData vocabulary(Tokens ends = {}) {
  TokenizerData data;
  data.pre = "gpt-2";
  for (int i = 0; i < kVocab; ++i) data.tokens.push_back(std::to_string(i) + ",");
  data.types.assign(kVocab, TokenizerData::Type::normal);
  data.end_of_generation = std::move(ends);
  return data;
}

struct GenerateTest : testing::Test {
  std::vector<std::byte> bytes = model_bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  Tokenizer tokenizer{vocabulary()};
  ThreadPool threads{2};
  const Tokens prompt = prompt_of(300, 4);  // no step of any test is close to a tie

  GenerateConfig config(std::int64_t max_tokens = 20, std::int64_t chunk = 0) const {
    return {.codec = codec_config("f16"), .max_tokens = max_tokens, .chunk = chunk};
  }

  // Greedy, the whole text anew for every token.
  Tokens reference(const Tokens& text, std::int64_t count, float penalty = 1.0f) {
    Tokens all = text;
    for (std::int64_t made = 0; made < count; ++made) {
      KvCache cache(model.cache_config(codec_config("f16"), 512));
      const ForwardItem item{cache.create(), all};
      const auto last = model.forward(cache, {&item, 1}, {}, threads);
      std::vector<float> logits(last.begin(), last.end());
      const std::set<Token> recent(all.end() - std::min<std::ptrdiff_t>(64, std::ssize(all)), all.end());
      for (const Token t : recent) {
        float& logit = logits[static_cast<std::size_t>(t)];
        logit = logit > 0 ? logit / penalty : logit * penalty;
      }
      const auto best = std::max_element(logits.begin(), logits.end());
      const auto token = static_cast<Token>(best - logits.begin());
      const float greatest = std::exchange(*best, -HUGE_VALF);
      EXPECT_GT(greatest - *std::max_element(logits.begin(), logits.end()), kSafeGap)
          << "another seed is wanted, at token " << made;
      all.push_back(token);
    }
    return {all.end() - count, all.end()};
  }

  std::string text_of(const Tokens& tokens) const { return tokenizer.decode(tokens); }
  static void ignore(std::string_view) {}

  void expect_turn(Generator& generator, const Tokens& text, const Tokens& wanted, std::int64_t cached, const char* what) {
    const Turn turn = generator.continue_text(text, ignore);
    EXPECT_EQ(turn.text, text_of(wanted)) << what;
    EXPECT_EQ(turn.tokens, std::ssize(wanted)) << what;
    EXPECT_EQ(turn.cached_tokens, cached) << what;
    EXPECT_EQ(turn.prompt_tokens, std::ssize(text) - cached) << what;
  }
};

TEST_F(GenerateTest, OnePassAndChunksGiveTheReference) {
  const Tokens wanted = reference(prompt, 20);
  EXPECT_GT(std::set<Token>(wanted.begin(), wanted.end()).size(), 5u) << "an answer that tells something: " << text_of(wanted);
  for (const std::int64_t chunk : {0, 1000, 300, 128, 77, 1}) {
    Generator generator(model, tokenizer, threads, config(20, chunk));
    expect_turn(generator, prompt, wanted, 0, ("chunk " + std::to_string(chunk)).c_str());
  }
}

TEST_F(GenerateTest, AKeptPrefixChangesNothing) {
  Generator generator(model, tokenizer, threads, config());
  const Tokens answer = reference(prompt, 20);
  expect_turn(generator, prompt, answer, 0, "first turn");
  // The last token made was never processed.
  const Tokens longer = joined(joined(prompt, answer), prompt_of(30, 2));
  expect_turn(generator, longer, reference(longer, 20), 319, "second turn");
  expect_turn(generator, longer, reference(longer, 20), 349, "the same again");
  const Tokens other = joined(first(prompt, 200), prompt_of(40, 3));  // leaves the text inside a sealed page
  expect_turn(generator, other, reference(other, 20), 200, "another way from token 200");
  const Tokens shorter = first(prompt, 90);
  expect_turn(generator, shorter, reference(shorter, 20), 89, "a beginning");
  EXPECT_EQ(generator.cache().memory_report().num_tokens, 109);
}

TEST_F(GenerateTest, EndsWhereItMust) {
  const Tokens all = reference(prompt, 20);
  const auto finish = [&](GenerateConfig limits, const Tokens& ends) {
    const Tokenizer ending(vocabulary(ends));
    Generator generator(model, ending, threads, limits);
    return generator.continue_text(prompt, ignore);
  };
  const auto expect = [&](const Turn& turn, std::string_view why, std::int64_t tokens, std::int64_t shown) {
    EXPECT_EQ(finish_name(turn.finish), why);
    EXPECT_EQ(turn.tokens, tokens) << why;
    EXPECT_EQ(turn.text, text_of(first(all, shown))) << why;
  };
  GenerateConfig limits = config(5);
  expect(finish(limits, {}), "length", 5, 5);
  limits.max_tokens = 0;
  expect(finish(limits, {}), "length", 0, 0);
  limits.max_tokens = -1;
  limits.context = 312;
  expect(finish(limits, {}), "context", 12, 12);
  limits.max_tokens = 13;
  expect(finish(limits, {}), "context", 12, 12);
  limits.max_tokens = 12;
  expect(finish(limits, {}), "length", 12, 12);
  const Token end = all[7];
  const std::int64_t at = std::find(all.begin(), all.end(), end) - all.begin();
  expect(finish(limits, {95, end}), "stop", at + 1, at);
}

TEST_F(GenerateTest, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::string& words, const auto& work) {
    try {
      work();
      ADD_FAILURE() << "no error, wanted: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::invalid_argument));
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what() << " lacks " << words;
    }
  };
  const auto refuses = [&](const std::string& words, auto change) {
    GenerateConfig wrong = config();
    change(wrong);
    refused(words, [&] { Generator(model, tokenizer, threads, wrong); });
  };
  refuses("context is 1073741825, wanted 1 to 1073741824", [](GenerateConfig& c) { c.context = (std::int64_t{1} << 30) + 1; });
  refuses("context is -1", [](GenerateConfig& c) { c.context = -1; });
  refuses("max_tokens is -2", [](GenerateConfig& c) { c.max_tokens = -2; });
  refuses("chunk is -1", [](GenerateConfig& c) { c.chunk = -1; });
  refuses("top_p", [](GenerateConfig& c) { c.sampling.top_p = 0; });
  GenerateConfig narrow = config(5);
  narrow.context = 300;
  Generator generator(model, tokenizer, threads, narrow);
  refused("300 tokens, wanted at most 299", [&] { generator.continue_text(prompt, ignore); });
  refused("empty prompt", [&] { generator.continue_text({}, ignore); });
  const Tokens fits = first(prompt, 100);
  expect_turn(generator, fits, reference(fits, 5), 0, "after the refusals");
}

// The text callback: once per token, whole characters, in sum the turn's text. The first two tokens are the halves of one
// character.
TEST_F(GenerateTest, TextComesInWholeCharacters) {
  const Tokens wanted = reference(prompt, 20);
  ASSERT_NE(wanted[0], wanted[1]);
  TokenizerData data = vocabulary();
  data.tokens[static_cast<std::size_t>(wanted[0])] = to_alphabet("\xC3");
  data.tokens[static_cast<std::size_t>(wanted[1])] = to_alphabet("\xA9");
  const Tokenizer bytewise(data);
  const auto pieces = [&](std::int64_t max_tokens) {
    Generator generator(model, bytewise, threads, config(max_tokens));
    std::vector<std::string> seen;
    const Turn turn = generator.continue_text(prompt, [&](std::string_view text) { seen.emplace_back(text); });
    EXPECT_EQ(turn.text, std::accumulate(seen.begin(), seen.end(), std::string())) << max_tokens;
    for (const std::string& text : seen) EXPECT_EQ(utf8_valid_prefix(text), text.size()) << text;
    return seen;
  };
  EXPECT_EQ(pieces(1), (std::vector<std::string>{"", std::string(kReplacement)}));
  EXPECT_EQ(pieces(2), (std::vector<std::string>{"", "\xC3\xA9"}));
  const std::vector<std::string> all = pieces(20);
  EXPECT_EQ(all.size(), 20u + (wanted.back() == wanted[0]));
  EXPECT_EQ(all[1], "\xC3\xA9");
}

TEST_F(GenerateTest, SpecialTokensAreToldApartFromTheText) {
  const Tokens wanted = reference(prompt, 20);
  const Token inside = wanted[2], end = wanted[7];
  TokenizerData data = vocabulary({end});
  for (const Token token : {inside, end}) data.types[static_cast<std::size_t>(token)] = TokenizerData::Type::control;
  const Tokenizer special(data);
  Generator generator(model, special, threads, config());
  std::string all;
  const auto tell = [&](std::string_view part) { all += part; };
  const Turn turn = generator.continue_text(prompt, tell, {}, tell);
  EXPECT_EQ(all, text_of(first(wanted, turn.tokens)));  // in their places, the last one too
  Tokens said = first(wanted, turn.tokens - 1);
  std::erase(said, inside);
  EXPECT_EQ(turn.text, text_of(said));
}

TEST_F(GenerateTest, ProgressOfThePrompt) {
  Generator generator(model, tokenizer, threads, config(1, 128));
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  generator.continue_text(prompt, ignore, [&](std::int64_t done, std::int64_t total) { seen.emplace_back(done, total); });
  // Two layers: chunks of 128, 128 and 44 tokens.
  const std::vector<std::pair<std::int64_t, std::int64_t>> wanted = {{0, 600},   {128, 600}, {256, 600},
                                                                     {384, 600}, {512, 600}, {556, 600}};
  EXPECT_EQ(seen, wanted);
}

// Every place where a text callback can stop a turn; what comes next is what a fresh generator gives, with and without penalty.
TEST_F(GenerateTest, GoesOnAfterTheTextCallbackThrew) {
  // 125 tokens: a page is sealed while decoding. 40 tokens: all of them, and none of the answer that was cut, count for the
  // penalty.
  for (const auto& [length, penalty] : {std::pair{125, 1.0f}, {40, 1.3f}}) {
    GenerateConfig limits = config(10);
    limits.sampling.repeat_penalty = penalty;
    const Tokens text = first(prompt, length), answer = reference(text, 10, penalty);
    for (const std::int64_t stop_at : {1, 3, 4, 5, 10}) {
      const std::string what = "penalty " + std::to_string(penalty) + ", stopped at token " + std::to_string(stop_at);
      const auto cut_generator = [&](const auto& next) {
        Generator generator(model, tokenizer, threads, limits);
        std::int64_t calls = 0;
        const auto stop = [&](std::string_view) {
          if (++calls == stop_at) throw Stop{};
        };
        EXPECT_THROW(generator.continue_text(text, stop), Stop) << what;
        EXPECT_EQ(generator.cache().memory_report().num_tokens, length + stop_at - 1) << what;
        next(generator);
      };
      cut_generator([&](Generator& generator) { expect_turn(generator, text, answer, length - 1, (what + ", again").c_str()); });
      cut_generator([&](Generator& generator) {
        const Tokens longer = joined(text, joined(first(answer, stop_at), {5, 6, 7}));
        expect_turn(generator, longer, reference(longer, 10, penalty), length + stop_at - 1, (what + ", longer").c_str());
      });
    }
  }
}

// The same for the prompt's callback, between layers of any chunk, and for an error out of forward().
TEST_F(GenerateTest, GoesOnAfterThePromptWasCut) {
  const Tokens answer = reference(prompt, 10);
  for (std::int64_t stop_at = 1; stop_at <= 6; ++stop_at) {  // two layers, chunks of 100
    Generator generator(model, tokenizer, threads, config(10, 100));
    std::int64_t calls = 0;
    const auto stop = [&](std::int64_t, std::int64_t) {
      if (++calls == stop_at) throw Stop{};
    };
    EXPECT_THROW(generator.continue_text(prompt, ignore, stop), Stop);
    const std::int64_t kept = (stop_at - 1) / 2 * 100;
    EXPECT_EQ(generator.cache().memory_report().num_tokens, kept);
    expect_turn(generator, prompt, answer, kept, ("stopped at call " + std::to_string(stop_at)).c_str());
  }
  Generator generator(model, tokenizer, threads, config(10, 100));
  Tokens wrong = prompt;
  wrong[150] = 96;  // outside the vocabulary
  EXPECT_THROW(generator.continue_text(wrong, ignore), Error);
  expect_turn(generator, prompt, answer, 100, "after an error of the second chunk");
  wrong[0] = -1;
  EXPECT_THROW(generator.continue_text(wrong, ignore), Error);
  expect_turn(generator, prompt, answer, 0, "after an error before the first");
}

}  // namespace
}  // namespace qjl::engine::test
