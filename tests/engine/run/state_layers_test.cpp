// A model whose first layer keeps a state: however a text is cut and whoever is beside it, the state is that after its tokens.
//
// Bound of logits as in forward_test.cpp: other sums in fp32 through rounding to 16 bit, below 2^-8.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "generate.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kSameLogits = 1.0 / 256;
constexpr int kVocab = 96;
using Logits = ForwardOptions::Logits;
using Tokens = std::vector<Token>;

Tokens random_tokens(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Tokens out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % kVocab));
  return out;
}

void expect_near(std::span<const float> found, std::span<const float> wanted, const char* what) {
  ASSERT_EQ(found.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], kSameLogits) << what << ", logit " << i;
}

struct StateLayers : testing::Test {
  std::vector<std::byte> bytes = TinyModel::qwen35().bytes(TinyModel::Matrices::q8_0);
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads{2};

  std::vector<float> run(KvCache& cache, SequenceId sequence, std::span<const Token> ids, ForwardOptions options = {}) {
    const ForwardItem item{sequence, ids};
    const std::span<const float> out = model.forward(cache, {&item, 1}, options, threads);
    return {out.begin(), out.end()};
  }
  CacheConfig shape(const char* type = "f16", int sequences = 3) const {
    return model.cache_config(codec_config(type), 512, sequences);
  }
};

TEST_F(StateLayers, OnlyLayersThatAttendHaveACache) {
  const CacheConfig config = shape();
  EXPECT_EQ(config.num_layers, 1);
  EXPECT_EQ(config.recurrent_numbers, 3 * 160 + 4 * 16 * 24);
}

TEST_F(StateLayers, ChunksAgreeWithOneCall) {
  const Tokens ids = random_tokens(400, 1);
  KvCache whole(shape()), parts(shape());
  const std::vector<float> wanted = run(whole, whole.create(), ids, {.logits = Logits::all, .observe_kv = {}});
  const SequenceId sequence = parts.create();
  std::vector<float> found;
  for (std::size_t begin = 0, size = 1; begin < ids.size(); begin += size, size = size % 7 == 0 ? 90 : size + 1) {
    size = std::min(size, ids.size() - begin);
    const std::vector<float> part =
        run(parts, sequence, std::span(ids).subspan(begin, size), {.logits = Logits::all, .observe_kv = {}});
    found.insert(found.end(), part.begin(), part.end());
  }
  expect_near(found, wanted, "chunks");
}

TEST_F(StateLayers, FastArithmeticIsNear) {
  const Tokens ids = random_tokens(300, 1);
  KvCache exact(shape()), fast(shape());
  const std::vector<float> wanted = run(exact, exact.create(), ids, {.logits = Logits::all, .observe_kv = {}});
  const std::vector<float> found =
      run(fast, fast.create(), ids, {.logits = Logits::all, .arithmetic = Arithmetic::fast, .observe_kv = {}});
  double squares = 0, of_wanted = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    squares += std::pow(static_cast<double>(found[i]) - wanted[i], 2);
    of_wanted += std::pow(static_cast<double>(wanted[i]), 2);
  }
  EXPECT_LT(std::sqrt(squares / of_wanted), 1.0 / 16);
}

// Rows of a kind do not depend on the others, to the bit; blocks end inside an item and hold several.
TEST_F(StateLayers, WhatIsBesideChangesNothing) {
  const Tokens a = random_tokens(300, 2), b = random_tokens(1, 3), c = random_tokens(37, 4);
  for (const Arithmetic arithmetic : {Arithmetic::exact, Arithmetic::fast}) {
    KvCache single(shape()), batch(shape());
    std::vector<float> wanted;
    std::vector<ForwardItem> items;
    for (const Tokens* ids : {&a, &b, &c}) {
      const RowKind kind = ids->size() == 1 ? RowKind::decode : RowKind::prompt;
      const ForwardItem item{single.create(), *ids, Logits::last, kind};
      const auto part = model.forward(single, {&item, 1}, {.arithmetic = arithmetic, .observe_kv = {}}, threads);
      wanted.insert(wanted.end(), part.begin(), part.end());
      items.push_back({batch.create(), *ids, Logits::last, kind});
    }
    const auto found = model.forward(batch, items, {.arithmetic = arithmetic, .observe_kv = {}}, threads);
    EXPECT_TRUE(std::ranges::equal(found, wanted));
    for (std::size_t i = 0; i < items.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(batch.recurrent_state(items[i].sequence), single.recurrent_state(items[i].sequence))) << i;
  }
}

TEST_F(StateLayers, AForkGoesOnFromTheState) {
  const Tokens ids = random_tokens(200, 5), next = random_tokens(20, 6), other = random_tokens(20, 7);
  KvCache cache(shape());
  const SequenceId parent = cache.create();
  run(cache, parent, ids);
  const SequenceId fork = cache.fork(parent);
  run(cache, parent, other);
  KvCache fresh(shape());
  const SequenceId alone = fresh.create();
  run(fresh, alone, ids);
  EXPECT_EQ(run(cache, fork, next), run(fresh, alone, next));
}

TEST_F(StateLayers, ErrorBetweenLayersIsUndone) {
  const Tokens first = random_tokens(20, 1), second = random_tokens(30, 2);
  KvCache calm(shape()), disturbed(shape());
  const SequenceId a = calm.create(), b = disturbed.create();
  run(calm, a, first);
  run(disturbed, b, first);
  ForwardOptions options;
  options.observe_kv = [](int, std::size_t, const TensorView&, const TensorView&) { throw std::runtime_error("stop"); };
  EXPECT_THROW(run(disturbed, b, second, options), std::runtime_error);
  EXPECT_EQ(disturbed.num_tokens(b), 20);
  EXPECT_EQ(run(disturbed, b, second), run(calm, a, second));
}

// Keys and values that were filled in without their state are no beginning.
TEST_F(StateLayers, AStateOfAnotherLengthIsRefused) {
  const Tokens ids = random_tokens(140, 1), next = random_tokens(3, 2);
  KvCache seen(shape()), filled(shape());
  const SequenceId a = seen.create(), b = filled.create();
  ForwardOptions options;
  options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
    filled.append(b, layer, keys, values, threads);
  };
  run(seen, a, ids, options);
  try {
    run(filled, b, next);
    ADD_FAILURE() << "went on without a state";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("item 0 has a recurrent state after 0 tokens, wanted one after the 140 it holds"),
              std::string::npos)
        << error.what();
  }
  const std::span<const float> state = seen.recurrent_state(a);
  std::vector<float> numbers(state.begin(), state.end());
  filled.set_recurrent_state(b, numbers);
  EXPECT_EQ(run(filled, b, next), run(seen, a, next));
}

// A turn that goes on keeps what is there; one that goes back reads all anew; a saved text goes on.
TEST_F(StateLayers, TurnsOfAGenerator) {
  TokenizerData data;
  data.pre = "gpt-2";
  for (int i = 0; i < kVocab; ++i) data.tokens.push_back(std::to_string(i) + ",");
  data.types.assign(kVocab, TokenizerData::Type::normal);
  const Tokenizer tokenizer{data};
  GenerateConfig config;
  config.codec = codec_config("f16");
  config.max_tokens = 5;
  config.arithmetic = Arithmetic::exact;
  const auto ignore = [](std::string_view) {};
  Generator talk(model, tokenizer, threads, config);
  talk.continue_text(random_tokens(150, 8), ignore);
  Tokens text = talk.tokens();
  const Tokens more = random_tokens(10, 9);
  text.insert(text.end(), more.begin(), more.end());
  const auto alone = [&](const Tokens& prompt) {
    return Generator(model, tokenizer, threads, config).continue_text(prompt, ignore).text;
  };
  const Turn on = talk.continue_text(text, ignore);
  EXPECT_EQ(on.cached_tokens, 154);
  EXPECT_EQ(on.text, alone(text));
  text.resize(100);
  const Turn back = talk.continue_text(text, ignore);
  EXPECT_EQ(back.cached_tokens, 0);
  EXPECT_EQ(back.text, alone(text));
  const std::string path = testing::TempDir() + "state_layers_test.qjlkv.safetensors";
  talk.save(path);
  Generator loaded(model, tokenizer, threads, config, CacheFile(path));
  text = talk.tokens();
  text.insert(text.end(), more.begin(), more.end());
  const Turn after = loaded.continue_text(text, ignore);
  EXPECT_EQ(after.cached_tokens, 104);
  EXPECT_EQ(after.text, alone(text));
}

}  // namespace
}  // namespace qjl::engine::test
