// Ministral 3: llama with YaRN, and queries that grow by the logarithm of their position beyond the original context.
// Source: Ministral 3 (Mistral AI, 2025; transformers modeling_ministral3); names of keys as in llama.cpp.
#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"

namespace qjl::engine {
namespace {

void describe_mistral3(const MetadataKeys& keys, ModelConfig& config) {
  if (!keys.has_positive("attention.temperature_scale")) return;
  config.query_growth.rate = static_cast<float>(keys.positive_or("attention.temperature_scale", 1.0, 1e3));
  config.query_growth.length =
      keys.positive_or("rope.scaling.original_context_length", static_cast<double>(config.context_length), kMostContext);
}

}  // namespace

extern const Architecture kMistral3 = {.name = "mistral3", .interleaved_pairs = true, .describe = describe_mistral3};

}  // namespace qjl::engine
