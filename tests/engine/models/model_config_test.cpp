// What a model file says of itself: good files, and for each bad one the error that names the place, what was found and what was
// wanted.
#include "model_config.hpp"
#include "model.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "rope.hpp"
#include "tiny_config.hpp"

namespace qjl::engine::test {
namespace {

TEST(ModelConfig, ReadsWhatIsThere) {
  const ModelConfig c = config_of(TinyModel());
  EXPECT_EQ(c.family->name, "llama");
  EXPECT_EQ(c.num_layers, 2);
  EXPECT_EQ(c.num_heads, 2);
  EXPECT_EQ(c.num_kv_heads, 1);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.hidden, 128);
  EXPECT_EQ(c.vocab_size, 96);
  EXPECT_EQ(c.context_length, 512);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_TRUE(c.layers[1].rope.interleaved);
  EXPECT_EQ(c.layers[1].rope.dimensions, 64);
  EXPECT_EQ(c.layers[1].rope.base, 10000.0);
}

// A key that would change the arithmetic is followed or refused; one that nobody knows is told of.
TEST(ModelConfig, KeysAreFollowedOrRefused) {
  for (const char* name : {"attention.max_alibi_bias", "attention.clamp_kqv", "logit_scale", "attention.temperature_scale"}) {
    TinyModel tiny;
    tiny.keys[std::string("llama.") + name] = 0.5f;
    expect_error(tiny, ErrorKind::unsupported, {std::string("llama.") + name, "0.5"});
  }
  for (const char* name : {"attention.causal", "rope.scaling.attn_factor"}) {  // where 0 does not mean "none"
    TinyModel tiny;
    tiny.keys[std::string("llama.") + name] = 0u;
    expect_error(tiny, ErrorKind::unsupported, {std::string("llama.") + name, "0.0"});
  }
  TinyModel harmless;
  harmless.keys["llama.attention.causal"] = 1u;
  harmless.keys["llama.residual_scale"] = 0.0f;
  harmless.keys["llama.logit_scale"] = 1.0f;
  harmless.keys["llama.rope.scaling.finetuned"] = 1u;
  EXPECT_TRUE(config_of(harmless).warnings.empty());
  harmless.keys["llama.taste"] = "sweet";
  const std::vector<std::string> warnings = config_of(harmless).warnings;
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("llama.taste"), std::string::npos) << warnings[0];
}

// Windows by layer: a period of the family or of the file, in every layer where neither says one.
TEST(ModelConfig, Windows) {
  const auto windows = [](const TinyModel& tiny) {
    std::vector<std::int64_t> each;
    for (const LayerShape& layer : config_of(tiny).layers) each.push_back(layer.window);
    return each;
  };
  TinyModel all("phi3");
  all.keys["phi3.attention.sliding_window"] = 40u;
  EXPECT_EQ(windows(all), (std::vector<std::int64_t>{40, 40}));
  all.keys["phi3.attention.sliding_window"] = 0u;  // "none" of some converters
  EXPECT_EQ(windows(all), (std::vector<std::int64_t>{0, 0}));
  TinyModel half("gemma2");
  half.keys["gemma2.attention.sliding_window"] = 40u;
  EXPECT_EQ(windows(half), (std::vector<std::int64_t>{40, 0}));
  half.keys["gemma2.attention.sliding_window_pattern"] = 1u;  // the last of one
  EXPECT_EQ(windows(half), (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(config_of(half).attention_soft_cap, 50.0f);
  EXPECT_EQ(config_of(half).logit_soft_cap, 30.0f);
}

// Heads of a width that caches do not have get zeros behind their numbers; keys and values may differ.
TEST(ModelConfig, HeadsOfAnyWidth) {
  TinyModel tiny;
  tiny.keys["llama.attention.key_length"] = 100u;
  ModelConfig c = config_of(tiny);
  EXPECT_EQ(c.key_dim, 100);
  EXPECT_EQ(c.value_dim, 100);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.attention_scale, 0.1f);
  tiny.keys["llama.attention.key_length"] = 192u;
  tiny.keys["llama.attention.value_length"] = 128u;
  c = config_of(tiny);
  EXPECT_EQ(c.value_dim, 128);
  EXPECT_EQ(c.head_dim, 256);
  tiny.keys["llama.attention.key_length_swa"] = 192u;  // the same in layers with a window
  tiny.keys["llama.attention.value_length_swa"] = 128u;
  EXPECT_EQ(config_of(tiny).head_dim, 256);
  tiny.keys["llama.attention.value_length_swa"] = 192u;
  expect_error(tiny, ErrorKind::unsupported, {"attention.value_length_swa", "192", "128"});
  tiny.keys["llama.attention.key_length_swa"] = 128u;
  expect_error(tiny, ErrorKind::unsupported, {"attention.key_length_swa", "128", "192"});
}

TEST(ModelConfig, WiderHeadsGrowBySixteen) {
  for (const auto& [width, cached] : {std::pair(256u, 256), {257u, 272}, {288u, 288}, {289u, 304}, {512u, 512}}) {
    TinyModel tiny;
    tiny.keys["llama.attention.value_length"] = width;
    EXPECT_EQ(config_of(tiny).head_dim, cached) << width;
  }
}

TEST(ModelConfig, EpsilonWithoutAKey) {
  TinyModel tiny;
  tiny.keys.erase("llama.attention.layer_norm_rms_epsilon");
  EXPECT_EQ(config_of(tiny).norm_epsilon, 1e-5);
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
  expect_error(other, ErrorKind::unsupported, {"mamba", "recurrent state", "gemma2, gemma3, gpt-oss", "qwen3moe or smollm3"});
  other.keys["general.architecture"] = "qwen3next";
  expect_error(other, ErrorKind::unsupported, {"qwen3next", "recurrent state"});
  TinyModel experts;
  experts.keys["llama.expert_count"] = 8u;
  experts.keys["llama.expert_used_count"] = 9u;
  expect_error(experts, ErrorKind::bad_file, {"expert_used_count", "9"});
  experts.keys["llama.expert_used_count"] = 2u;
  experts.keys["llama.expert_gating_func"] = 2u;
  expect_error(experts, ErrorKind::unsupported, {"expert_gating_func", "2"});
}

// The number of llama.cpp for the softmax of the chosen counts more than the family; that of a softmax leaves the family's.
TEST(ModelConfig, RoutingOfExperts) {
  for (const char* family : {"qwen2moe", "llama"}) {
    TinyModel tiny(family);
    const std::string prefix = std::string(family) + ".";
    tiny.keys[prefix + "expert_count"] = 4u;
    tiny.keys[prefix + "expert_used_count"] = 2u;
    const Routing own = config_of(tiny).experts.routing;
    EXPECT_EQ(own, family == std::string("llama") ? Routing::softmax_of_chosen : Routing::softmax_of_all);
    tiny.keys[prefix + "expert_gating_func"] = 1u;
    EXPECT_EQ(config_of(tiny).experts.routing, own);
    tiny.keys[prefix + "expert_weights_norm"] = false;
    EXPECT_EQ(config_of(tiny).experts.routing, Routing::softmax_of_all);
    tiny.keys[prefix + "expert_weights_norm"] = true;
    EXPECT_EQ(config_of(tiny).experts.routing, Routing::softmax_of_chosen);
    tiny.keys[prefix + "expert_weights_norm"] = false;
    tiny.keys[prefix + "expert_gating_func"] = 3u;
    EXPECT_EQ(config_of(tiny).experts.routing, Routing::softmax_of_chosen);
  }
}

// What the model of 27B has of its own, and what the others have.
TEST(ModelConfig, Gemma3) {
  TinyModel tiny("gemma3");
  tiny.keys["gemma3.block_count"] = 18u;
  tiny.keys["gemma3.attention.sliding_window"] = 32u;
  tiny.keys["gemma3.rope.freq_base"] = 1e6f;
  tiny.keys["gemma3.rope.scaling.type"] = "linear";
  tiny.keys["gemma3.rope.scaling.factor"] = 8.0f;
  ModelConfig c = config_of(tiny);
  for (int l = 0; l < 18; ++l) {
    const LayerShape& layer = c.layers[static_cast<std::size_t>(l)];
    const bool sees_all = l == 5 || l == 11 || l == 17;
    EXPECT_EQ(layer.window, sees_all ? 0 : 32) << l;
    EXPECT_EQ(layer.rope.base, sees_all ? 1e6 : 1e4) << l;
    EXPECT_EQ(layer.rope.factor, sees_all ? 8.0 : 1.0) << l;
    EXPECT_EQ(layer.rope.dimensions, 64) << l;
  }
  EXPECT_EQ(c.embedding_scale, std::sqrt(128.0f));
  EXPECT_EQ(c.attention_scale, 0.0f);
  EXPECT_EQ(c.logit_soft_cap, 0.0f);
  tiny.keys["gemma3.block_count"] = 62u;
  tiny.keys["gemma3.embedding_length"] = 200u;  // with two heads, 100 of it a head
  tiny.keys["gemma3.attention.key_length"] = 64u;
  tiny.keys["gemma3.attention.sliding_window_pattern"] = 2u;
  tiny.keys["gemma3.final_logit_softcapping"] = 30.0f;
  c = config_of(tiny);
  EXPECT_EQ(c.attention_scale, 0.1f);
  EXPECT_EQ(c.logit_soft_cap, 30.0f);
  EXPECT_EQ(c.layers[0].window, 32);
  EXPECT_EQ(c.layers[1].window, 0);
  tiny.keys.erase("gemma3.attention.sliding_window");
  expect_error(tiny, ErrorKind::bad_file, {"gemma3.attention.sliding_window"});
}

TEST(ModelConfig, ACacheIsToldWhereLayersDiffer) {
  const std::vector<std::byte> alike = TinyModel().bytes();
  const CacheConfig one = Model::load(parse_model_file(alike, "tiny")).cache_config(codec_config("k3v2"), 256);
  EXPECT_TRUE(one.layer_ropes.empty());
  EXPECT_TRUE(one.layer_windows.empty());
  EXPECT_EQ(one.codec.rope, (KeyRope{rope_frequencies({.dimensions = 64, .frequency_divisors = {}}), KeyRope::Pairs::interleaved}));

  TinyModel tiny = TinyModel::gemma3();
  const std::vector<std::byte> layered = tiny.bytes();
  const CacheConfig two = Model::load(parse_model_file(layered, "tiny")).cache_config(codec_config("k3v2"), 256);
  const auto halves = [](double base) {
    return KeyRope{rope_frequencies({.base = base, .dimensions = 64, .frequency_divisors = {}}), KeyRope::Pairs::halves};
  };
  EXPECT_EQ(two.layer_windows, (std::vector<std::int64_t>{32, 0}));
  EXPECT_EQ(two.layer_ropes, (std::vector{halves(1e4), halves(1e6)}));
  tiny.tensors.erase("blk.1.post_ffw_norm.weight");
  expect_error(tiny, ErrorKind::bad_file, {"blk.1.post_ffw_norm.weight"});
}

TEST(ModelWeights, RefusesMissingMisshapenAndUnknownTensors) {
  TinyModel missing;
  missing.tensors.erase("blk.1.ffn_up.weight");
  expect_error(missing, ErrorKind::bad_file, {"blk.1.ffn_up.weight"});
  TinyModel misshapen;
  misshapen.matrix("blk.0.attn_k.weight", 128, 64, 1.0);
  expect_error(misshapen, ErrorKind::bad_file, {"blk.0.attn_k.weight", "[128, 64]", "[64, 128]"});
  TinyModel unknown;
  unknown.norm("blk.0.attn_norm.bias");
  expect_error(unknown, ErrorKind::unsupported, {"blk.0.attn_norm.bias", "llama"});
  TinyModel layers;  // the file says three layers and has two
  layers.keys["llama.block_count"] = 3u;
  expect_error(layers, ErrorKind::bad_file, {"blk.2."});
}

}  // namespace
}  // namespace qjl::engine::test
