// read_model_config: every number is bounded here, so that no later product of sizes can overflow.
//
// Keys as llama.cpp writes them: block_count, embedding_length, feed_forward_length, attention.head_count, attention.head_count_kv,
// attention.key_length, attention.value_length, attention.layer_norm_rms_epsilon, context_length, vocab_size; those of RoPE
// (rope_keys.hpp), of windows, soft caps and experts, where a file has them. A family adds its own (Architecture::describe).
#include "model_config.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "metadata_keys.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

std::int64_t read_vocab_size(const ModelFile& file, const MetadataKeys& keys, std::int64_t most) {
  if (keys.has("vocab_size")) return keys.integer("vocab_size", most);
  return bounded("the length of tokenizer.ggml.tokens", std::ssize(file.texts("tokenizer.ggml.tokens")), most);
}

void read_heads(const ModelFile& file, const MetadataKeys& keys, ModelConfig& config) {
  constexpr std::int64_t kMostHeads = 4096;
  config.num_heads = static_cast<int>(keys.of_all_layers("attention.head_count", config.num_layers, kMostHeads));
  const char* kv_heads = "attention.head_count_kv";
  config.num_kv_heads =
      keys.has(kv_heads) ? static_cast<int>(keys.of_all_layers(kv_heads, config.num_layers, config.num_heads)) : config.num_heads;
  if (config.num_heads % config.num_kv_heads != 0) {
    refuse_model(keys.prefix() + "attention.head_count", std::to_string(config.num_heads),
                 "a multiple of " + std::to_string(config.num_kv_heads) + " kv heads");
  }
  // Beyond the widths of codes a cache has f16 rows alone.
  constexpr int kMostExactDim = 512, kExactDimStep = 16;
  const std::span<const int> widths = head_dims();
  const std::int64_t usual = config.hidden / config.num_heads;
  config.key_dim = static_cast<int>(keys.integer_or("attention.key_length", usual, kMostExactDim));
  config.value_dim = static_cast<int>(keys.integer_or("attention.value_length", config.key_dim, kMostExactDim));
  const int width = std::max(config.key_dim, config.value_dim);
  const auto fits = std::ranges::lower_bound(widths, width);
  config.head_dim = fits != widths.end() ? *fits : (width + kExactDimStep - 1) / kExactDimStep * kExactDimStep;
  for (const auto& [other, same] :
       {std::pair("attention.key_length_swa", config.key_dim), std::pair("attention.value_length_swa", config.value_dim)}) {
    if (const std::int64_t found = file.integer_or(keys.prefix() + other, same); found != same) {
      throw Error(ErrorKind::unsupported, "[model] " + keys.prefix() + other + " is " + std::to_string(found) +
                                              ", wanted the width of the other layers' heads, " + std::to_string(same));
    }
  }
}

// Layers that see a window only, and how they turn.
void read_windows(const ModelFile& file, const MetadataKeys& keys, RopeOptions rope, ModelConfig& config) {
  if (!keys.has_positive("attention.sliding_window")) return;
  const Architecture& family = *config.family;
  LayerShape local = config.layers.front();
  local.window = keys.integer("attention.sliding_window", kMostContext);
  const char* turning = "rope.dimension_count_swa";
  if (const std::int64_t found = keys.integer_or(turning, local.rope.dimensions, kMostContext); found != local.rope.dimensions) {
    throw Error(ErrorKind::unsupported, "[model] " + keys.prefix() + turning + " is " + std::to_string(found) +
                                            ", wanted as many as in layers without a window, " +
                                            std::to_string(local.rope.dimensions));
  }
  const double usual_base = family.window_rope_base > 0.0 ? family.window_rope_base : local.rope.base;
  rope.base = keys.positive_or("rope.freq_base_swa", usual_base, kMostBase);
  local.rope =
      family.plain_rope_in_window ? plain_rope(local.rope, *rope.base) : read_rope(file, keys, family, config.key_dim, rope);
  const char* pattern = "attention.sliding_window_pattern";
  const auto has_window = keys.flags(pattern);  // of each layer
  if (has_window && has_window->size() != config.layers.size()) {
    refuse_model("the length of " + keys.prefix() + pattern, std::to_string(has_window->size()), std::to_string(config.num_layers));
  }
  const std::int64_t every = !has_window && keys.has(pattern) ? keys.integer(pattern, 1024) : family.full_attention_every;
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    const bool sees_all = has_window ? !(*has_window)[l] : every > 0 && (static_cast<std::int64_t>(l) + 1) % every == 0;
    if (sees_all) continue;
    config.layers[l].window = local.window;
    config.layers[l].rope = local.rope;
  }
}

// Layers with a state, and its shape. Names as llama.cpp writes them for Qwen 3.5; ssm.value_heads_grouped is of our own, where value
// heads stand as transformers has them.
void read_state_layers(const MetadataKeys& keys, ModelConfig& config) {
  const Architecture& family = *config.family;
  if (!family.has_state_layers) return;
  constexpr std::int64_t kMostDim = 1024, kMostHeads = 4096, kMostKernel = 64;
  DeltaShape& delta = config.delta;
  delta.kernel = static_cast<int>(keys.integer("ssm.conv_kernel", kMostKernel));
  delta.key_dim = static_cast<int>(keys.integer("ssm.state_size", kMostDim));
  delta.key_heads = static_cast<int>(keys.integer("ssm.group_count", kMostHeads));
  delta.value_heads = static_cast<int>(keys.integer("ssm.time_step_rank", kMostHeads));
  const std::int64_t inner = keys.integer("ssm.inner_size", kMostDim * kMostHeads);
  if (inner % delta.value_heads != 0 || inner / delta.value_heads > kMostDim) {
    refuse_model(keys.prefix() + "ssm.inner_size", std::to_string(inner),
                 std::to_string(delta.value_heads) + " heads of the same width, at most " + std::to_string(kMostDim));
  }
  delta.value_dim = static_cast<int>(inner / delta.value_heads);
  if (delta.value_heads % delta.key_heads != 0) {
    refuse_model(keys.prefix() + "ssm.time_step_rank", std::to_string(delta.value_heads),
                 "a multiple of the " + std::to_string(delta.key_heads) + " key heads");
  }
  const bool is_grouped = keys.boolean_or("ssm.value_heads_grouped", false);
  delta.key_of_value = is_grouped ? DeltaShape::KeyOfValue::grouped : DeltaShape::KeyOfValue::tiled;
  const char* which = "attention.recurrent_layers";
  const auto flags = keys.flags(which);
  if (flags && std::ssize(*flags) < config.num_layers) {
    refuse_model("the length of " + keys.prefix() + which, std::to_string(flags->size()), std::to_string(config.num_layers));
  }
  const std::int64_t every = keys.integer_or("full_attention_interval", family.full_attention_every, 1024);
  for (std::size_t l = 0; l < config.layers.size(); ++l) {
    config.layers[l].keeps_state = flags ? (*flags)[l] : (static_cast<std::int64_t>(l) + 1) % every != 0;
  }
  if (config.num_cached_layers() == 0) refuse_model("the number of layers that attend", "0", "one at least");
  if (family.gates_attention && config.key_dim != config.value_dim) {
    refuse_model(keys.prefix() + "attention.value_length", std::to_string(config.value_dim),
                 "that of keys, " + std::to_string(config.key_dim));
  }
}

void read_experts(const MetadataKeys& keys, ModelConfig& config) {
  if (!keys.has_positive("expert_count")) return;
  constexpr std::int64_t kMostExperts = 4096, kMostWidth = std::int64_t{1} << 22;
  ExpertShape& experts = config.experts;
  experts.count = static_cast<int>(keys.integer("expert_count", kMostExperts));
  experts.used = static_cast<int>(keys.integer("expert_used_count", experts.count));
  experts.feed_forward = keys.integer_or("expert_feed_forward_length", config.layers.front().feed_forward, kMostWidth);
  experts.shared_feed_forward = keys.integer_or("expert_shared_feed_forward_length", experts.feed_forward, kMostWidth);
  const bool sum_to_one = keys.boolean_or("expert_weights_norm", config.family->routing == Routing::softmax_of_chosen);
  experts.routing = sum_to_one ? Routing::softmax_of_chosen : Routing::softmax_of_all;
  constexpr std::int64_t kSoftmax = 1, kSoftmaxOfChosen = 3;  // llama.cpp's numbers
  const std::int64_t gating = keys.integer_or("expert_gating_func", kSoftmax, 1024);
  if (gating == kSoftmaxOfChosen) experts.routing = Routing::softmax_of_chosen;
  if (gating != kSoftmax && gating != kSoftmaxOfChosen) {
    throw Error(ErrorKind::unsupported, "[model] " + keys.prefix() + "expert_gating_func is " + std::to_string(gating) +
                                            ", wanted 1 (softmax) or 3 (softmax of the chosen)");
  }
}

}  // namespace

int ModelConfig::num_cached_layers() const {
  return num_layers - static_cast<int>(std::ranges::count(layers, true, &LayerShape::keeps_state));
}

const LayerShape& ModelConfig::cached_layer(int cached_idx) const {
  const auto attends = [&cached_idx](const LayerShape& layer) { return !layer.keeps_state && cached_idx-- == 0; };
  return *std::ranges::find_if(layers, attends);
}

ModelConfig read_model_config(const ModelFile& file, const RopeOptions& rope) {
  constexpr std::int64_t kMostWidth = std::int64_t{1} << 20, kMostVocab = std::int64_t{1} << 24;
  constexpr double kMostScale = 1e6;
  ModelConfig config;
  config.family = &find_architecture(file.text("general.architecture"));
  config.name = file.text_or("general.name", std::string(config.family->name));
  const MetadataKeys keys(file, config.family->name);
  config.num_layers = static_cast<int>(keys.integer("block_count", 1024));
  // Blocks at the end that guess tokens further ahead are no part of the model's own pass.
  if (const char* guessing = "nextn_predict_layers"; config.family->has_state_layers && keys.has_positive(guessing)) {
    config.left_out_layers = static_cast<int>(keys.integer(guessing, config.num_layers - 1));
    config.num_layers -= config.left_out_layers;
  }
  config.hidden = keys.integer("embedding_length", kMostWidth);
  read_heads(file, keys, config);
  config.context_length = keys.integer("context_length", kMostContext);
  config.norm_epsilon = keys.positive_or("attention.layer_norm_rms_epsilon", 1e-5, 1.0);
  config.vocab_size = read_vocab_size(file, keys, kMostVocab);
  config.tied_embeddings = file.find_tensor("output.weight") == nullptr;
  const auto scale_or = [&](const char* name, float absent) {
    return keys.has_positive(name) ? static_cast<float>(keys.positive_or(name, absent, kMostScale)) : absent;
  };
  config.attention_scale = scale_or("attention.scale", 0.0f);
  config.attention_soft_cap = scale_or("attn_logit_softcapping", 0.0f);
  config.logit_soft_cap = scale_or("final_logit_softcapping", 0.0f);
  const RopeConfig usual_rope = read_rope(file, keys, *config.family, config.key_dim, rope);
  const bool are_all_experts = !keys.has("feed_forward_length") && keys.has("expert_feed_forward_length");
  const char* width_key = are_all_experts ? "expert_feed_forward_length" : "feed_forward_length";
  for (const std::int64_t width : keys.of_layers(width_key, config.num_layers, kMostWidth * 4)) {
    config.layers.push_back({.rope = usual_rope, .feed_forward = width});
  }
  read_state_layers(keys, config);
  read_windows(file, keys, rope, config);
  read_experts(keys, config);
  if (config.family->describe != nullptr) config.family->describe(keys, config);
  if (config.attention_scale == 0.0f && config.head_dim != config.key_dim) {
    config.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.key_dim)));
  }
  config.warnings = keys.check_others();
  return config;
}

}  // namespace qjl::engine
