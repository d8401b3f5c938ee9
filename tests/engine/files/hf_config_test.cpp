// config.json: the keys that it becomes, and what is refused.
#include "hf_config.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "hf_builder.hpp"
#include "hf_names.hpp"
#include "qjl/error.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;
using qjl::Error;
using qjl::ErrorKind;

HfConfig read(const std::string& text) { return read_hf_config(parse_json_object(text, "config.json")); }

FileJson changed(const char* key, const FileJson& value) {
  FileJson config = parse_json_object(small_config(), "config.json");
  config[key] = value;
  return config;
}

void refused(const FileJson& config, ErrorKind kind, const std::string& part) {
  try {
    read_hf_config(config);
    ADD_FAILURE() << "no error, wanted one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(HfConfig, Llama) {
  const HfConfig config = read(small_config());
  EXPECT_EQ(std::get<std::string>(config.values.at("general.architecture")), "llama");
  EXPECT_EQ(std::get<std::uint64_t>(config.values.at("llama.attention.head_count_kv")), 1u);
  EXPECT_EQ(std::get<std::string>(config.values.at("llama.rope.scaling.type")), "linear");
  EXPECT_EQ(std::get<double>(config.values.at("llama.rope.scaling.factor")), 2.0);
  EXPECT_FALSE(std::get<bool>(config.values.at("llama.rope.interleaved_pairs")));
  EXPECT_EQ(config.ends, (std::vector<std::int64_t>{1, 2}));
  EXPECT_FALSE(config.tied_embeddings);
}

TEST(HfConfig, GemmaOfTextConfig) {
  const HfConfig config = read(small_gemma_config());
  EXPECT_EQ(std::get<std::string>(config.values.at("general.architecture")), "gemma3");
  EXPECT_EQ(std::get<std::uint64_t>(config.values.at("gemma3.attention.key_length")), 256u);  // of the class
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(config.values.at("gemma3.attention.sliding_window_pattern")),
            (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(std::get<double>(config.values.at("gemma3.rope.freq_base_swa")), 1e4);
  EXPECT_EQ(std::get<double>(config.values.at("gemma3.rope.scaling.yarn_attn_factor")), 1.2);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST(HfConfig, MagnitudeOfYarn) {
  const FileJson rope = {{"rope_type", "yarn"}, {"factor", 16.0}, {"mscale", 1.0}, {"mscale_all_dim", 0.5}};
  const HfConfig config = read_hf_config(changed("rope_scaling", rope));
  const double log_factor = std::log(16.0);
  EXPECT_DOUBLE_EQ(std::get<double>(config.values.at("llama.rope.scaling.yarn_attn_factor")),
                   (0.1 * log_factor + 1) / (0.05 * log_factor + 1));
}

TEST(HfConfig, OriginalContextIsACountOfTokens) {
  for (const char* type : {"llama3", "yarn"}) {
    for (const std::int64_t tokens : {std::int64_t{0}, std::int64_t{-1}, (std::int64_t{1} << 40) + 1}) {
      const FileJson rope = {{"rope_type", type},
                             {"factor", 2.0},
                             {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4.0},
                             {"original_max_position_embeddings", tokens}};
      refused(changed("rope_scaling", rope), ErrorKind::bad_file, "original_max_position_embeddings: found");
    }
  }
}

TEST(HfConfig, KeysAreKnownRefusedOrNamed) {
  refused(changed("model_type", "mamba"), ErrorKind::unsupported, "'mamba'");
  refused(changed("hidden_size", "64"), ErrorKind::bad_file, "hidden_size: found '64'");
  refused(changed("num_hidden_layers", 0), ErrorKind::bad_file, "num_hidden_layers");
  refused(changed("hidden_act", "relu"), ErrorKind::unsupported, "'relu'");
  refused(changed("logits_scaling", 8.0), ErrorKind::unsupported, "logits_scaling");
  refused(changed("quantization_config", {{"quant_method", "awq"}}), ErrorKind::unsupported, "'awq'");
  refused(changed("layer_types", {"full_attention"}), ErrorKind::bad_file, "layer_types");
  refused(changed("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}), ErrorKind::unsupported, "'dynamic'");
  refused(changed("rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}, {"spin", 1}}), ErrorKind::unsupported, "spin");
  refused(changed("rope_scaling", {{"rope_type", "linear"}}), ErrorKind::bad_file, "factor");
  for (const char* key : {"num_local_experts", "num_experts"}) refused(changed(key, 8), ErrorKind::unsupported, key);
  EXPECT_NO_THROW(read_hf_config(changed("num_local_experts", 0)));
  for (const bool is_decoder : {false, true}) EXPECT_NO_THROW(read_hf_config(changed("is_decoder", is_decoder)));
  EXPECT_NO_THROW(read_hf_config(changed("logits_scaling", 1.0)));
  EXPECT_NO_THROW(read_hf_config(changed("quantization_config", nullptr)));
  EXPECT_TRUE(read_hf_config(changed("novelty", 3)).values.contains("llama.config.json:novelty"));  // warned of as a key of no list
}

TEST(HfConfig, WindowsOfLayers) {
  FileJson config = changed("sliding_window", 16);
  EXPECT_FALSE(read_hf_config(config).values.contains("llama.attention.sliding_window"));  // llama's class has none
  config["model_type"] = "mistral";
  EXPECT_EQ(std::get<std::int64_t>(read_hf_config(config).values.at("llama.attention.sliding_window")), 16);
  config["model_type"] = "qwen3";
  EXPECT_FALSE(read_hf_config(config).values.contains("qwen3.attention.sliding_window"));
  config["use_sliding_window"] = true;
  refused(config, ErrorKind::unsupported, "use_sliding_window");
  config["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_EQ(std::get<std::int64_t>(read_hf_config(config).values.at("qwen3.attention.sliding_window")), 16);
}

TEST(HfNames, OfTensors) {
  const HfFamily &llama = find_hf_family("llama"), &gemma = find_hf_family("gemma3_text");
  EXPECT_EQ(gguf_tensor_name("model.layers.12.self_attn.q_proj.weight", llama), "blk.12.attn_q.weight");
  EXPECT_EQ(gguf_tensor_name("language_model.model.layers.0.mlp.up_proj.weight", gemma), "blk.0.ffn_up.weight");
  EXPECT_EQ(gguf_tensor_name("model.language_model.embed_tokens.weight", gemma), "token_embd.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.1.post_attention_layernorm.weight", llama), "blk.1.ffn_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.1.post_attention_layernorm.weight", gemma), "blk.1.post_attention_norm.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.1.block_sparse_moe.experts.7.w2.weight", llama), "blk.1.ffn_down.7.weight");
  EXPECT_EQ(gguf_tensor_name("model.layers.1.mlp.experts.7.gate_proj.weight", llama), "blk.1.ffn_gate.7.weight");
  EXPECT_EQ(gguf_tensor_name("vision_tower.x.weight", gemma), "");
  EXPECT_EQ(gguf_tensor_name("model.layers.0.self_attn.rotary_emb.inv_freq", llama), "");
  for (const char* odd :
       {"model.layers.weight", "model.layers.1.weight", "model.layers.1x.mlp.weight", "a", "", "model.layers.1.lora.weight"}) {
    EXPECT_EQ(gguf_tensor_name(odd, llama), odd);  // as it is, so that the model refuses it by its name
  }
}

}  // namespace
