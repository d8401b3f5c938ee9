// The RoPE of a model by its file's keys and tensors, and by a user's options.
#include "rope_keys.hpp"

#include <gtest/gtest.h>

#include "qjl/error.hpp"
#include "rope.hpp"
#include "tiny_config.hpp"

namespace qjl::engine::test {
namespace {

TEST(RopeKeys, RopeScaling) {
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
  RopeConfig yarn = config_of(tiny).layers[1].rope;
  EXPECT_EQ(yarn.frequency_divisors, yarn_divisors(10000.0, 32, {.factor = 4.0, .original_context = 256.0}));
  EXPECT_EQ(yarn.magnitude, yarn_magnitude(4.0, 0.0));
  tiny.keys["llama.rope.scaling.yarn_attn_factor"] = 1.25f;
  tiny.keys["llama.rope.scaling.yarn_beta_fast"] = 16.0f;
  yarn = config_of(tiny).layers[1].rope;
  EXPECT_EQ(yarn.magnitude, 1.25);
  EXPECT_EQ(yarn.frequency_divisors, yarn_divisors(10000.0, 32, {.factor = 4.0, .original_context = 256.0, .beta_fast = 16.0}));
  tiny.keys["llama.rope.scaling.attn_factor"] = 1.5f;
  EXPECT_EQ(config_of(tiny).layers[1].rope.magnitude, 1.25 * 1.5);
  tiny.keys.erase("llama.rope.scaling.yarn_attn_factor");
  EXPECT_EQ(config_of(tiny).layers[1].rope.magnitude, yarn_magnitude(4.0, 0.0) * 1.5);
  tiny.keys["llama.rope.scaling.attn_factor"] = 1.0f;  // as llama.cpp writes it in every file
  EXPECT_EQ(config_of(tiny).layers[1].rope.magnitude, yarn_magnitude(4.0, 0.0));
  for (const char* name : {"llama.rope.scaling.attn_factor", "llama.rope.scaling.yarn_attn_factor"}) {
    TinyModel zero = tiny;
    zero.keys[name] = 0.0f;
    expect_error(zero, ErrorKind::bad_file, {name, "0.0", "above 0"});
  }
  tiny.keys["llama.rope.scaling.type"] = "dynamic";
  expect_error(tiny, ErrorKind::unsupported, {"rope.scaling.type", "dynamic", "linear"});
}

// The attention_factor of transformers, which converters write as yarn_attn_factor, is the whole magnitude: OLMo 3's, 1 + 0.1 log 8, says
// what is so without it.
TEST(RopeKeys, AGivenMagnitudeIsAllOfIt) {
  TinyModel tiny("olmo2");
  tiny.keys["olmo2.rope.scaling.type"] = "yarn";
  tiny.keys["olmo2.rope.scaling.factor"] = 8.0f;
  const double usual = config_of(tiny).layers[1].rope.magnitude;
  tiny.keys["olmo2.rope.scaling.yarn_attn_factor"] = 1.2079441541679836f;
  EXPECT_NEAR(config_of(tiny).layers[1].rope.magnitude, usual, 1e-7);  // an fp32 in the file
}

TEST(RopeKeys, AFactorWithoutATypeIsLinear) {
  TinyModel tiny;
  tiny.keys["llama.rope.scaling.factor"] = 4.0f;
  EXPECT_EQ(config_of(tiny).layers[1].rope.factor, 4.0);
  tiny.keys["llama.rope.scaling.type"] = "none";
  EXPECT_EQ(config_of(tiny).layers[1].rope.factor, 1.0);
}

// llama.cpp writes a factor of 0, and with YaRN an original context of 0, where there is none.
TEST(RopeKeys, AFactorOfZeroIsNone) {
  TinyModel tiny;
  tiny.keys["llama.rope.scaling.factor"] = 0.0f;
  EXPECT_EQ(config_of(tiny).layers[1].rope.factor, 1.0);
  tiny.keys["llama.rope.scaling.type"] = "llama3";
  EXPECT_EQ(config_of(tiny).layers[1].rope.frequency_divisors, llama3_divisors(10000.0, 64, {}));
  tiny.keys["llama.rope.scaling.type"] = "yarn";
  tiny.keys["llama.rope.scaling.original_context_length"] = 0u;
  EXPECT_EQ(config_of(tiny).layers[1].rope.frequency_divisors, std::vector<float>(32, 1.0f));
  tiny.keys["llama.rope.scaling.factor"] = 4.0f;
  EXPECT_EQ(config_of(tiny).layers[1].rope.frequency_divisors,
            yarn_divisors(10000.0, 64, {.factor = 4.0, .original_context = 512.0}));
  tiny.keys["llama.rope.scaling.factor"] = -1.0f;
  expect_error(tiny, ErrorKind::bad_file, {"rope.scaling.factor", "-1.0", "above 0"});
}

// The longest context is one for all keys: no default of one is beyond another's bounds.
TEST(RopeKeys, TheLongestContext) {
  TinyModel tiny("mistral3");
  tiny.keys["mistral3.context_length"] = 1u << 30;
  tiny.keys["mistral3.rope.scaling.type"] = "yarn";
  tiny.keys["mistral3.attention.temperature_scale"] = 0.5f;
  for (const bool is_told : {false, true}) {
    if (is_told) tiny.keys["mistral3.rope.scaling.original_context_length"] = 1u << 30;
    EXPECT_EQ(config_of(tiny).query_growth.length, 1073741824.0);
  }
  tiny.keys["mistral3.rope.scaling.original_context_length"] = (1u << 30) + 1;
  expect_error(tiny, ErrorKind::bad_file, {"original_context_length", "1073741825", "1073741824"});
}

TEST(RopeKeys, RopeOptionsComeBeforeTheFile) {
  TinyModel tiny;
  tiny.keys["llama.rope.scaling.factor"] = 4.0f;
  const std::vector<std::byte> bytes = tiny.bytes();
  const auto rope = [&](const RopeOptions& options) {
    return read_model_config(*parse_model_file(bytes, "tiny"), options).layers[1].rope;
  };
  using Scaling = RopeOptions::Scaling;
  EXPECT_EQ(rope({.scaling = Scaling::none}).factor, 1.0);
  EXPECT_EQ(rope({.factor = 2.0}).factor, 2.0);
  EXPECT_EQ(rope({.base = 5e5}).base, 5e5);
  const RopeConfig yarn = rope({.scaling = Scaling::yarn, .factor = 8.0, .yarn_original_context = 128.0, .yarn_beta_slow = 2.0});
  EXPECT_EQ(yarn.factor, 1.0);
  EXPECT_EQ(yarn.frequency_divisors, yarn_divisors(10000.0, 64, {.factor = 8.0, .original_context = 128.0, .beta_slow = 2.0}));
  EXPECT_EQ(yarn.magnitude, yarn_magnitude(8.0, 0.0));
  const RopeConfig stronger = rope({.scaling = Scaling::yarn, .factor = 8.0, .yarn_attention_factor = 2.0});
  EXPECT_EQ(stronger.magnitude, 2.0 * yarn_magnitude(8.0, 0.0));
}

TEST(RopeKeys, RopeOptionsWithoutEffectAreRefused) {
  TinyModel plain, llama3, longrope;
  llama3.keys["llama.rope.scaling.type"] = "llama3";
  longrope.tensors["rope_factors_long.weight"] = longrope.tensors["rope_factors_short.weight"] = {{32}, std::vector(32, 2.0f)};
  const auto error_of = [](const TinyModel& tiny, const RopeOptions& options) -> std::string {
    const std::vector<std::byte> bytes = tiny.bytes();
    try {
      read_model_config(*parse_model_file(bytes, "tiny"), options);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::invalid_argument ? error.what() : "of another kind";
    }
    return "";
  };
  const auto refused = [&](const char* words, const TinyModel& tiny, const RopeOptions& options) {
    EXPECT_NE(error_of(tiny, options).find(words), std::string::npos) << words << ": " << error_of(tiny, options);
  };
  using Scaling = RopeOptions::Scaling;
  refused("--rope-scale", plain, {.scaling = Scaling::none, .factor = 4.0});
  refused("--rope-scale", longrope, {.factor = 4.0});
  refused("--yarn-orig-ctx", plain, {.yarn_original_context = 64.0});
  refused("--yarn-ext-factor", plain, {.yarn_ext_factor = 1.0});
  refused("--yarn-attn-factor", longrope, {.yarn_attention_factor = 1.0});
  refused("--yarn-beta-fast", plain, {.factor = 4.0, .yarn_beta_fast = 16.0});
  refused("--yarn-beta-slow", llama3, {.yarn_beta_slow = 2.0});
  EXPECT_EQ(error_of(llama3, {.factor = 4.0}), "");
  EXPECT_EQ(error_of(longrope, {.yarn_original_context = 64.0}), "");
  llama3.tensors["rope_freqs.weight"] = {{32}, std::vector(32, 2.0f)};
  refused("--rope-scale", llama3, {.factor = 4.0});
  EXPECT_EQ(error_of(llama3, {.scaling = Scaling::linear, .factor = 4.0}), "");
}

TEST(RopeKeys, LongropeChoosesByTheContext) {
  TinyModel tiny("phi3");
  tiny.keys["phi3.rope.scaling.original_context_length"] = 64u;
  tiny.tensors["rope_factors_long.weight"] = {{32}, std::vector<float>(32, 4.0f)};
  tiny.tensors["rope_factors_short.weight"] = {{32}, std::vector<float>(32, 2.0f)};
  const std::vector<std::byte> bytes = tiny.bytes();
  for (const auto& [context, divisor] : {std::pair{0, 4.0f}, {64, 2.0f}, {65, 4.0f}}) {
    const RopeConfig rope = read_model_config(*parse_model_file(bytes, "tiny"), {.context = context}).layers[1].rope;
    EXPECT_EQ(rope.frequency_divisors, std::vector<float>(32, divisor)) << context;
    EXPECT_EQ(rope.magnitude, longrope_magnitude(512.0 / 64.0, 64.0));
  }
}

// Another base of layers with a window changes their base alone, unless the family turns them without scaling.
TEST(RopeKeys, AWindowsBaseKeepsTheScaling) {
  for (const char* family : {"gpt-oss", "olmo2"}) {
    TinyModel tiny(family);
    const std::string prefix = std::string(family) + ".";
    tiny.keys[prefix + "attention.sliding_window"] = 40u;
    tiny.keys[prefix + "attention.sliding_window_pattern"] = 2u;
    tiny.keys[prefix + "rope.freq_base"] = 1e6f;
    tiny.keys[prefix + "rope.freq_base_swa"] = 1e4f;
    tiny.keys[prefix + "rope.scaling.type"] = "yarn";
    tiny.keys[prefix + "rope.scaling.factor"] = 4.0f;
    const bool is_plain = std::string(family) == "olmo2";
    const auto bounds = is_plain ? YarnScaling::Bounds::whole_pairs : YarnScaling::Bounds::exact;
    const YarnScaling scaling{.factor = 4.0, .original_context = 512.0, .bounds = bounds};
    const ModelConfig c = config_of(tiny);
    EXPECT_EQ(c.layers[0].rope.base, 1e4);
    EXPECT_EQ(c.layers[1].rope.base, 1e6);
    EXPECT_EQ(c.layers[0].rope.frequency_divisors, is_plain ? std::vector<float>() : yarn_divisors(1e4, 64, scaling));
    EXPECT_EQ(c.layers[1].rope.frequency_divisors, yarn_divisors(1e6, 64, scaling));
    EXPECT_EQ(c.layers[0].rope.magnitude, is_plain ? 1.0 : yarn_magnitude(4.0, 0.0));
  }
}

TEST(RopeKeys, RopeTensorWins) {
  TinyModel tiny;
  tiny.tensors["rope_freqs.weight"] = {{32}, std::vector<float>(32, 2.0f)};
  EXPECT_EQ(config_of(tiny).layers[1].rope.frequency_divisors, std::vector<float>(32, 2.0f));
  tiny.tensors["rope_freqs.weight"].numbers[7] = 0.0f;
  expect_error(tiny, ErrorKind::bad_file, {"rope_freqs.weight", "above 0"});
  tiny.tensors["rope_freqs.weight"] = {{31}, std::vector<float>(31, 2.0f)};
  expect_error(tiny, ErrorKind::bad_file, {"rope_freqs.weight", "31", "32"});
}

}  // namespace
}  // namespace qjl::engine::test
