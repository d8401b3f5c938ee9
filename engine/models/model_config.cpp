// read_model_config: every number is bounded here, so that no later product of sizes can overflow.
//
// Keys as llama.cpp writes them: block_count, embedding_length, feed_forward_length, attention.head_count, attention.head_count_kv,
// attention.key_length, attention.layer_norm_rms_epsilon, rope.freq_base, rope.dimension_count, rope.scaling.type and .factor,
// context_length, vocab_size. A family adds its own (Architecture::describe).
#include "model_config.hpp"

#include <cmath>

#include "metadata_keys.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"
#include "rope.hpp"

namespace qjl::engine {
namespace {

std::vector<float> divisors_from_tensor(const FileTensor& tensor, int dimensions) {
  const std::int64_t wanted = dimensions / 2, found = tensor.shape.size() == 1 ? tensor.shape[0] : -1;
  if (found != wanted) refuse_model("the length of rope_freqs.weight", std::to_string(found), std::to_string(wanted));
  if (wanted % block_numbers(tensor.type) != 0)
    refuse_model("the type of rope_freqs.weight", std::string(weight_type_name(tensor.type)), "f32");
  std::vector<float> divisors(static_cast<std::size_t>(wanted));
  dequantize(tensor.type, tensor.data.data(), wanted, divisors.data());
  for (const float divisor : divisors) {
    if (!(std::isfinite(divisor) && divisor > 0.0f))
      refuse_model("a number of rope_freqs.weight", std::to_string(divisor), "above 0");
  }
  return divisors;
}

void read_rope_scaling(const ModelFile& file, const MetadataKeys& keys, RopeConfig& rope) {
  constexpr double kMost = 1e6;
  const std::string type = keys.text_or("rope.scaling.type", keys.has("rope.scale_linear") ? "linear" : "none");
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::linear;
    rope.factor = keys.has("rope.scaling.factor") ? keys.positive_or("rope.scaling.factor", 1.0, kMost)
                                                  : keys.positive_or("rope.scale_linear", 1.0, kMost);
  } else if (type == "llama3") {
    Llama3Scaling scaling;
    scaling.factor = keys.positive_or("rope.scaling.factor", scaling.factor, kMost);
    scaling.low_frequency_factor = keys.positive_or("rope.scaling.low_freq_factor", scaling.low_frequency_factor, kMost);
    scaling.high_frequency_factor = keys.positive_or("rope.scaling.high_freq_factor", scaling.high_frequency_factor, kMost);
    scaling.original_context = keys.positive_or("rope.scaling.original_context_length", scaling.original_context, 1e9);
    if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
      refuse_model(keys.prefix() + "rope.scaling.high_freq_factor", std::to_string(scaling.high_frequency_factor),
                   "above low_freq_factor");
    }
    rope.scaling = RopeConfig::Scaling::llama3;
    rope.frequency_divisors = llama3_divisors(rope.base, rope.dimensions, scaling);
  } else if (type != "none") {
    throw Error(ErrorKind::unsupported,
                "[model] " + keys.prefix() + "rope.scaling.type is \"" + type + "\", wanted none, linear or llama3");
  }
  if (const FileTensor* tensor = file.find_tensor("rope_freqs.weight")) {
    rope.scaling = RopeConfig::Scaling::llama3;
    rope.frequency_divisors = divisors_from_tensor(*tensor, rope.dimensions);
  }
}

RopeConfig read_rope(const ModelFile& file, const MetadataKeys& keys, const ModelConfig& config) {
  RopeConfig rope;
  rope.interleaved = config.family->interleaved_pairs;
  rope.base = keys.positive_or("rope.freq_base", 10000.0, 1e12);
  rope.dimensions = static_cast<int>(keys.integer_or("rope.dimension_count", config.head_dim, config.head_dim));
  if (rope.dimensions % 2 != 0)
    refuse_model(keys.prefix() + "rope.dimension_count", std::to_string(rope.dimensions), "an even number");
  read_rope_scaling(file, keys, rope);
  return rope;
}

std::int64_t read_vocab_size(const ModelFile& file, const MetadataKeys& keys, std::int64_t most) {
  if (keys.has("vocab_size")) return keys.integer("vocab_size", most);
  const std::int64_t size = std::ssize(file.texts("tokenizer.ggml.tokens"));
  if (size < 1 || size > most)
    refuse_model("the length of tokenizer.ggml.tokens", std::to_string(size), "1 to " + std::to_string(most));
  return size;
}

}  // namespace

ModelConfig read_model_config(const ModelFile& file) {
  constexpr std::int64_t kMostHeads = 4096, kMostHeadDim = 256, kMostWidth = std::int64_t{1} << 20;
  constexpr std::int64_t kMostVocab = std::int64_t{1} << 24, kMostContext = std::int64_t{1} << 30;
  ModelConfig config;
  config.family = &find_architecture(file.text("general.architecture"));
  config.name = file.text_or("general.name", std::string(config.family->name));
  const MetadataKeys keys(file, config.family->name);
  config.num_layers = static_cast<int>(keys.integer("block_count", 1024));
  config.hidden = keys.integer("embedding_length", kMostWidth);
  config.feed_forward = keys.integer("feed_forward_length", kMostWidth * 4);
  config.num_heads = static_cast<int>(keys.integer("attention.head_count", kMostHeads));
  config.num_kv_heads = static_cast<int>(keys.integer_or("attention.head_count_kv", config.num_heads, config.num_heads));
  if (config.num_heads % config.num_kv_heads != 0) {
    refuse_model(keys.prefix() + "attention.head_count", std::to_string(config.num_heads),
                 "a multiple of " + std::to_string(config.num_kv_heads) + " kv heads");
  }
  const std::int64_t default_dim = config.hidden / config.num_heads;
  config.head_dim = static_cast<int>(keys.integer_or("attention.key_length", default_dim, kMostHeadDim));
  const std::int64_t value_dim = keys.integer_or("attention.value_length", config.head_dim, kMostHeadDim);
  if (value_dim != config.head_dim) {
    throw Error(ErrorKind::unsupported, "[model] attention.value_length is " + std::to_string(value_dim) +
                                            ", wanted the key length " + std::to_string(config.head_dim));
  }
  if (keys.has("expert_count") && file.integer(keys.prefix() + "expert_count") > 0) {
    throw Error(ErrorKind::unsupported, "[model] a mixture of experts, wanted a dense feed-forward layer");
  }
  config.context_length = keys.integer("context_length", kMostContext);
  config.norm_epsilon = keys.positive_or("attention.layer_norm_rms_epsilon", 1e-5, 1.0);
  config.vocab_size = read_vocab_size(file, keys, kMostVocab);
  config.tied_embeddings = file.find_tensor("output.weight") == nullptr;
  config.layers.assign(static_cast<std::size_t>(config.num_layers), {read_rope(file, keys, config), 0});
  if (config.family->describe != nullptr) config.family->describe(keys, config);
  return config;
}

}  // namespace qjl::engine
