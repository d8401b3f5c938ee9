// A generator that goes on with a saved cache, beside one that never stopped: the same tokens, also where keys stand in the other
// order of channels; and files that cannot be gone on with.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "generate.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kVocab = 96;

TokenizerData vocabulary() {
  TokenizerData data;
  data.pre = "gpt-2";
  for (int i = 0; i < kVocab; ++i) data.tokens.push_back(std::to_string(i) + ",");
  data.types.assign(kVocab, TokenizerData::Type::normal);
  return data;
}

// With an output matrix of its own and more attention, or a text is one token again and again and a lost one is not missed.
std::vector<std::byte> talkative(TinyModel tiny) {
  tiny.matrix("output.weight", kVocab, 128, 3.0);
  for (const std::string layer : {"blk.0.", "blk.1."}) tiny.matrix(layer + "attn_output.weight", 128, 128, 4.0);
  return tiny.bytes();
}

struct SavedCacheTest : testing::Test {
  std::vector<std::byte> bytes = talkative(TinyModel()), gemma_bytes = talkative(TinyModel::gemma3());
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  Tokenizer tokenizer{vocabulary()};
  ThreadPool threads{2};
  std::vector<Token> prompt;
  std::string path = (fs::temp_directory_path() / ("qjl_saved_cache_" + std::to_string(getpid()) + ".safetensors")).string();

  SavedCacheTest() {
    std::mt19937_64 random(4);
    for (int i = 0; i < 300; ++i) prompt.push_back(static_cast<Token>(random() % kVocab));
  }
  ~SavedCacheTest() override { fs::remove(path); }

  static GenerateConfig config(std::int64_t max_tokens) {
    return {.codec = codec_config("k3v2"), .max_tokens = max_tokens, .arithmetic = Arithmetic::exact};
  }
  // The same text by one generator, and by three with a file between.
  void expect_the_same(Model& any) {
    Generator whole(any, tokenizer, threads, config(60)), begun(any, tokenizer, threads, config(20));
    const Turn wanted = whole.continue_text(prompt, [](std::string_view) {});
    std::string text = begun.continue_text(prompt, [](std::string_view) {}).text;
    begun.save(path);
    for (int part = 0; part < 2; ++part) {
      Generator next(any, tokenizer, threads, config(20), CacheFile(path));
      const Turn turn = next.continue_text(next.tokens(), [](std::string_view) {});
      EXPECT_EQ(turn.prompt_tokens, 1);
      text += turn.text;
      next.save(path);
    }
    EXPECT_EQ(text, wanted.text);
    const std::vector<Token> all = whole.tokens();
    EXPECT_TRUE(all[319] != all[320] || all[339] != all[340]) << "another seed is wanted, a token said twice would not be seen";
  }
  std::string error_of_going_on(const CacheConfig& shape, const CacheFileInfo& info, ErrorKind kind, int sequences = 1) {
    KvCache cache(shape);
    std::vector<SequenceId> ids;
    for (int i = 0; i < sequences; ++i) ids.push_back(cache.create());
    save_cache(path, cache, ids, info);
    try {
      Generator(model, tokenizer, threads, config(1), CacheFile(path));
    } catch (const Error& error) {
      return error.kind() == kind ? error.what() : std::string("wrong kind: ") + error.what();
    }
    return "";
  }
};

TEST_F(SavedCacheTest, GoesOnAsIfNothingHadBeenBetween) {
  expect_the_same(model);
  Model gemma = Model::load(parse_model_file(gemma_bytes, "gemma"));
  expect_the_same(gemma);
}

// On an exact cache the order of channels changes sums by rounding alone: q k over 64 channels in another order is 64 u of
// sum |q k|, u = 2^-24; logits of the tiny model differ by less than 2^-8 when attention adds in another order (forward_test.cpp).
TEST_F(SavedCacheTest, TheOtherOrderOfChannelsGivesTheSameLogits) {
  CacheConfig shapes[3];
  for (CacheConfig& shape : shapes) shape = model.cache_config(codec_config("f16"), 512);
  ASSERT_EQ(shapes[0].codec.rope.pairs, KeyRope::Pairs::interleaved);
  shapes[1].codec.rope.pairs = KeyRope::Pairs::halves;
  shapes[2].layer_ropes.assign(2, shapes[1].codec.rope);  // layer by layer, the first of them still
  shapes[2].layer_ropes[0].frequency.clear();
  shapes[2].codec.rope = {};
  std::vector<float> logits[3], keys[3];
  for (int i = 0; i < 3; ++i) {
    KvCache cache(shapes[i]);
    const SequenceId id = cache.create();
    const auto keep = [&](int layer, std::size_t, const TensorView& seen, const TensorView&) {
      const auto* row = static_cast<const float*>(seen.data);
      if (layer == 0 && keys[i].empty()) keys[i].assign(row, row + 64);
    };
    for (const std::size_t begin : {0, 150}) {
      const ForwardItem item{id, std::span(prompt).subspan(begin, 150)};
      const auto last = model.forward(cache, {&item, 1}, {.observe_kv = keep}, threads);
      logits[i].assign(last.begin(), last.end());
    }
  }
  for (std::size_t pair = 0; pair < 32; ++pair) {
    for (const int other : {1, 2}) {
      EXPECT_EQ(keys[other][pair], keys[0][2 * pair]);
      EXPECT_EQ(keys[other][pair + 32], keys[0][2 * pair + 1]);
    }
  }
  for (std::size_t i = 0; i < logits[0].size(); ++i) {
    EXPECT_NEAR(logits[0][i], logits[1][i], 1.0 / 256) << i;
    EXPECT_NEAR(logits[0][i], logits[2][i], 1.0 / 256) << i;
  }
}

// YaRN's magnitude is in the stored keys: a model with another one, or a file that tells none, is not gone on with.
TEST_F(SavedCacheTest, TheMagnitudeOfRopeIsRemembered) {
  RopeOptions yarn{.scaling = RopeOptions::Scaling::yarn, .factor = 4.0}, other = yarn;
  other.yarn_attention_factor = 1.5;
  Model scaled = Model::load(parse_model_file(bytes, "tiny"), yarn), stronger = Model::load(parse_model_file(bytes, "tiny"), other);
  const auto going_on = [&](Model& any) -> std::string {
    try {
      Generator(any, tokenizer, threads, config(1), CacheFile(path));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  Generator begun(scaled, tokenizer, threads, config(2));
  begun.continue_text(prompt, [](std::string_view) {});
  begun.save(path);
  EXPECT_EQ(going_on(scaled), "");
  EXPECT_NE(going_on(stronger).find("magnitude 1.138629 in layer 0, wanted 1.707944"), std::string::npos) << going_on(stronger);
  const CacheConfig shape = scaled.cache_config(codec_config("k3v2"), 512);
  KvCache silent(shape);
  const SequenceId id = silent.create();
  save_cache(path, silent, {&id, 1}, {.token_ids = {{1}}});
  EXPECT_NE(going_on(scaled).find("magnitude 1.000000 in layer 0"), std::string::npos) << going_on(scaled);
}

TEST_F(SavedCacheTest, FilesThatCannotBeGoneOnWith) {
  const CacheConfig shape = model.cache_config(codec_config("k3v2"), 512);
  const auto refused = [&](const char* words, const CacheConfig& found, const CacheFileInfo& info, int sequences = 1,
                           ErrorKind kind = ErrorKind::invalid_argument) {
    const std::string error = error_of_going_on(found, info, kind, sequences);
    EXPECT_NE(error.find(words), std::string::npos) << "wanted: " << words << "\nfound: " << error;
  };
  EXPECT_EQ(error_of_going_on(shape, {.token_ids = {{1}}}, ErrorKind::invalid_argument), "");
  refused("has no token ids", shape, {});
  refused("has 2 sequences, wanted 1", shape, {.token_ids = {{1}, {1}}}, 2);
  refused("has token 96, wanted 0 to 95", shape, {.token_ids = {{1, 96}}});
  refused("has 512 tokens, wanted at most 511", shape, {.token_ids = {std::vector<std::int64_t>(512, 1)}});
  const float number = 0;
  refused("keeps 1 tensors of layers apart", shape, {.token_ids = {{1}}, .exact = {{"0", DType::f32, {1}, &number}}}, 1,
          ErrorKind::unsupported);
  CacheConfig other = shape;
  other.num_layers = 3;
  refused("num_layers is 3, wanted 2", other, {.token_ids = {{1}}});
}

}  // namespace
}  // namespace qjl::engine::test
