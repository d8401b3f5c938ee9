// Each number of a model's description at its bounds: the greatest and the least are taken, one more and 0 are refused with what was
// found and wanted.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "gguf_builder.hpp"
#include "model.hpp"
#include "model_config.hpp"
#include "qjl/error.hpp"
#include "tiny_config.hpp"

namespace qjl::engine::test {
namespace {

struct Bound {
  const char* key;
  std::uint32_t most;
  std::int64_t (*read)(const ModelConfig&);
};

const Bound kBounds[] = {
    {"block_count", 1024, [](const ModelConfig& c) { return static_cast<std::int64_t>(c.num_layers); }},
    {"embedding_length", 1u << 20, [](const ModelConfig& c) { return c.hidden; }},
    {"feed_forward_length", 1u << 22, [](const ModelConfig& c) { return c.layers.front().feed_forward; }},
    {"context_length", static_cast<std::uint32_t>(kMostContext), [](const ModelConfig& c) { return c.context_length; }},
    {"vocab_size", 1u << 24, [](const ModelConfig& c) { return c.vocab_size; }},
    {"attention.head_count", 4096, [](const ModelConfig& c) { return static_cast<std::int64_t>(c.num_heads); }},
    {"attention.key_length", 512, [](const ModelConfig& c) { return static_cast<std::int64_t>(c.key_dim); }},
    {"attention.value_length", 512, [](const ModelConfig& c) { return static_cast<std::int64_t>(c.value_dim); }},
};

// Heads of 64 channels, whatever the width and number of the heads.
TinyModel described(const std::string& key, std::uint32_t number) {
  TinyModel tiny;
  tiny.keys["llama.attention.key_length"] = 64u;
  tiny.keys["llama.attention.value_length"] = 64u;
  tiny.keys["llama." + key] = number;
  return tiny;
}

TEST(ModelBounds, TheGreatestIsTakenAndOneMoreRefused) {
  for (const auto& [key, most, read] : kBounds) {
    EXPECT_EQ(read(config_of(described(key, most))), most) << key;
    expect_error(described(key, most + 1), ErrorKind::bad_file, {key, std::to_string(most + 1), std::to_string(most)});
  }
}

TEST(ModelBounds, NoneOfThemIsZero) {
  for (const Bound& bound : kBounds) expect_error(described(bound.key, 0), ErrorKind::bad_file, {bound.key, "0"});
}

TEST(ModelBounds, KvHeadsDivideHeads) {
  TinyModel tiny = described("attention.head_count", 6);
  for (const std::uint32_t fits : {1u, 2u, 3u, 6u}) {
    tiny.keys["llama.attention.head_count_kv"] = fits;
    EXPECT_EQ(config_of(tiny).num_kv_heads, static_cast<int>(fits));
  }
  for (const std::uint32_t other : {0u, 4u, 5u, 7u, 12u}) {
    tiny.keys["llama.attention.head_count_kv"] = other;
    expect_error(tiny, ErrorKind::bad_file, {"head_count"});
  }
}

TEST(ModelBounds, WithoutAVocabSizeTheTokensAreCounted) {
  for (const std::size_t count : {0u, 1u, 5u}) {
    qjl_test::GgufBuilder file;
    file.text("general.architecture", "llama").f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (const char* key : {"block_count", "attention.head_count", "attention.head_count_kv"})
      file.u32(std::string("llama.") + key, 1);
    for (const char* key : {"embedding_length", "feed_forward_length", "context_length"}) file.u32(std::string("llama.") + key, 64);
    file.texts("tokenizer.ggml.tokens", std::vector<std::string>(count, "a"));
    const qjl_test::Bytes bytes = file.build();
    const auto read = [&] { return read_model_config(*parse_model_file(bytes, "tiny")).vocab_size; };
    if (count == 0) {
      EXPECT_THROW(read(), Error);
    } else {
      EXPECT_EQ(read(), static_cast<std::int64_t>(count));
    }
  }
}

TEST(ModelBounds, ExpertsAreCounted) {
  TinyModel tiny = described("expert_count", 4096);
  tiny.keys["llama.expert_used_count"] = 4096u;
  EXPECT_EQ(config_of(tiny).experts.used, 4096);
  tiny.keys["llama.expert_used_count"] = 4097u;
  expect_error(tiny, ErrorKind::bad_file, {"expert_used_count", "4097"});
  tiny.keys["llama.expert_used_count"] = 0u;
  expect_error(tiny, ErrorKind::bad_file, {"expert_used_count", "0"});
  tiny.keys["llama.expert_count"] = 4097u;
  expect_error(tiny, ErrorKind::bad_file, {"expert_count", "4097"});
}

TEST(ModelBounds, ExpertsHaveTheirWidth) {
  constexpr std::uint32_t kMost = 1u << 22;
  TinyModel tiny = described("expert_count", 4);
  tiny.keys["llama.expert_used_count"] = 2u;
  EXPECT_EQ(config_of(tiny).experts.feed_forward, 192);  // that of the layers
  for (const char* key : {"expert_shared_feed_forward_length", "expert_feed_forward_length"}) {
    tiny.keys[std::string("llama.") + key] = kMost + 1;
    expect_error(tiny, ErrorKind::bad_file, {key, std::to_string(kMost + 1), std::to_string(kMost)});
    tiny.keys[std::string("llama.") + key] = kMost;
  }
  EXPECT_EQ(config_of(tiny).layers.front().feed_forward, 192) << "layers keep theirs";
  EXPECT_EQ(config_of(tiny).experts.feed_forward, kMost);
  EXPECT_EQ(config_of(tiny).experts.shared_feed_forward, kMost);
  tiny.keys.erase("llama.feed_forward_length");
  EXPECT_EQ(config_of(tiny).layers.front().feed_forward, kMost) << "where all have experts";
  tiny.keys.erase("llama.expert_feed_forward_length");
  expect_error(tiny, ErrorKind::bad_file, {"'llama.feed_forward_length'"});
}

TEST(ModelBounds, NumbersOfSomeFamilies) {
  TinyModel windows("gemma2"), states = TinyModel::qwen35(), experts = described("expert_count", 4);
  windows.keys["gemma2.attention.sliding_window"] = 40u;
  experts.keys["llama.expert_used_count"] = 2u;
  for (const auto& [tiny, key, most] : {std::tuple(&windows, "gemma2.attention.sliding_window_pattern", 1024u),
                                        {&states, "qwen35.full_attention_interval", 1024u},
                                        {&states, "qwen35.ssm.conv_kernel", 64u},
                                        {&states, "qwen35.ssm.state_size", 1024u},
                                        {&states, "qwen35.ssm.group_count", 4096u},
                                        {&states, "qwen35.ssm.time_step_rank", 4096u},
                                        {&states, "qwen35.ssm.inner_size", 1024u * 4096u},
                                        {&experts, "llama.expert_gating_func", 1024u}}) {
    TinyModel other = *tiny;
    other.keys[key] = most + 1;
    expect_error(other, ErrorKind::bad_file, {key, std::to_string(most + 1), "1 to " + std::to_string(most)});
  }
  states.keys["qwen35.ssm.inner_size"] = 4u * 1024u;
  EXPECT_EQ(config_of(states).delta.value_dim, 1024);
  states.keys["qwen35.ssm.inner_size"] = 4u * 1025u;
  expect_error(states, ErrorKind::bad_file, {"ssm.inner_size", "4100", "4 heads of the same width, at most 1024"});
}

}  // namespace
}  // namespace qjl::engine::test
