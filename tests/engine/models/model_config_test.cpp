// What a model file says of itself: good files, and for each bad one the error that names the place, what was found and what was
// wanted.
#include "model_config.hpp"
#include "model.hpp"

#include <gtest/gtest.h>

#include "qjl/error.hpp"
#include "rope.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

ModelConfig config_of(const TinyModel& tiny) {
  const std::vector<std::byte> bytes = tiny.bytes();
  return read_model_config(*parse_model_file(bytes, "tiny"));
}

void expect_error(const TinyModel& tiny, ErrorKind kind, const std::vector<std::string>& words) {
  const std::vector<std::byte> bytes = tiny.bytes();
  try {
    Model::load(parse_model_file(bytes, "tiny"));
    ADD_FAILURE() << "loaded, wanted an error with \"" << words[0] << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what() << " lacks " << word;
  }
}

TEST(ModelConfig, ReadsWhatIsThere) {
  const ModelConfig c = config_of(TinyModel());
  EXPECT_EQ(c.family->name, "llama");
  EXPECT_EQ(c.num_layers, 2);
  EXPECT_EQ(c.num_heads, 2);
  EXPECT_EQ(c.num_kv_heads, 1);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.hidden, 128);
  EXPECT_EQ(c.feed_forward, 192);
  EXPECT_EQ(c.vocab_size, 96);
  EXPECT_EQ(c.context_length, 512);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_TRUE(c.layers[1].rope.interleaved);
  EXPECT_EQ(c.layers[1].rope.dimensions, 64);
  EXPECT_EQ(c.layers[1].rope.base, 10000.0);
}

TEST(ModelConfig, RopeScaling) {
  TinyModel tiny;
  tiny.keys["llama.rope.scaling.type"] = "linear";
  tiny.keys["llama.rope.scaling.factor"] = 4.0f;
  tiny.keys["llama.rope.dimension_count"] = 32u;
  EXPECT_EQ(config_of(tiny).layers[1].rope.factor, 4.0);
  EXPECT_EQ(config_of(tiny).layers[1].rope.dimensions, 32);
  tiny.keys["llama.rope.scaling.type"] = "llama3";
  tiny.keys["llama.rope.scaling.low_freq_factor"] = 1.0f;
  tiny.keys["llama.rope.scaling.high_freq_factor"] = 4.0f;
  tiny.keys["llama.rope.scaling.original_context_length"] = 256u;
  const RopeConfig rope = config_of(tiny).layers[1].rope;
  EXPECT_EQ(rope.frequency_divisors, llama3_divisors(10000.0, 32, {4.0, 1.0, 4.0, 256.0}));
  EXPECT_EQ(rope.factor, 1.0);
  tiny.keys["llama.rope.scaling.type"] = "yarn";
  expect_error(tiny, ErrorKind::unsupported, {"rope.scaling.type", "yarn", "linear"});
}

TEST(ModelConfig, RopeTensorWins) {
  TinyModel tiny;
  tiny.tensors["rope_freqs.weight"] = {{32}, std::vector<float>(32, 2.0f)};
  EXPECT_EQ(config_of(tiny).layers[1].rope.frequency_divisors, std::vector<float>(32, 2.0f));
  tiny.tensors["rope_freqs.weight"].numbers[7] = 0.0f;
  expect_error(tiny, ErrorKind::bad_file, {"rope_freqs.weight", "above 0"});
  tiny.tensors["rope_freqs.weight"] = {{31}, std::vector<float>(31, 2.0f)};
  expect_error(tiny, ErrorKind::bad_file, {"rope_freqs.weight", "31", "32"});
}

TEST(ModelConfig, RefusesNumbersOutOfRange) {
  const std::pair<const char*, std::uint32_t> bad[] = {
      {"block_count", 0u},          {"block_count", 4000000000u},    {"embedding_length", 0xffffffffu}, {"feed_forward_length", 0u},
      {"attention.head_count", 0u}, {"attention.head_count_kv", 3u}, {"attention.key_length", 100000u}, {"context_length", 0u},
      {"vocab_size", 0xffffffffu},  {"rope.dimension_count", 63u}};
  for (const auto& [name, number] : bad) {
    TinyModel tiny;
    tiny.keys[std::string("llama.") + name] = number;
    expect_error(tiny, ErrorKind::bad_file, {name, std::to_string(number)});
  }
  TinyModel tiny;
  tiny.keys["llama.attention.layer_norm_rms_epsilon"] = NAN;
  expect_error(tiny, ErrorKind::bad_file, {"layer_norm_rms_epsilon", "nan"});
}

TEST(ModelConfig, RefusesWhatItCannotRun) {
  TinyModel other;
  other.keys["general.architecture"] = "mamba";
  expect_error(other, ErrorKind::unsupported, {"mamba", "llama, qwen2 or qwen3"});
  TinyModel experts;
  experts.keys["llama.expert_count"] = 8u;
  expect_error(experts, ErrorKind::unsupported, {"experts"});
}

TEST(ModelWeights, RefusesMissingMisshapenAndUnknownTensors) {
  TinyModel missing;
  missing.tensors.erase("blk.1.ffn_up.weight");
  expect_error(missing, ErrorKind::bad_file, {"blk.1.ffn_up.weight"});
  TinyModel misshapen;
  misshapen.matrix("blk.0.attn_k.weight", 128, 64, 1.0);
  expect_error(misshapen, ErrorKind::bad_file, {"blk.0.attn_k.weight", "[128, 64]", "[64, 128]"});
  TinyModel unknown;
  unknown.norm("blk.0.attn_output.bias");
  expect_error(unknown, ErrorKind::unsupported, {"blk.0.attn_output.bias", "llama"});
  TinyModel layers;  // the file says three layers and has two
  layers.keys["llama.block_count"] = 3u;
  expect_error(layers, ErrorKind::bad_file, {"blk.2."});
}

}  // namespace
}  // namespace qjl::engine::test
