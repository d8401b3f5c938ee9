// Granite 3 and 4, and its mixtures: llama with four multipliers; the one of the logits stands in files as its inverse.
// Source: Granite 3.0 (IBM, 2024); names of keys as in llama.cpp.
#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"

namespace qjl::engine {
namespace {

constexpr double kMostScale = 1e6;

void describe_granite(const MetadataKeys& keys, ModelConfig& config) {
  config.embedding_scale = static_cast<float>(keys.positive_or("embedding_scale", 1.0, kMostScale));
  config.residual_scale = static_cast<float>(keys.positive_or("residual_scale", 1.0, kMostScale));
  config.logit_scale = static_cast<float>(1.0 / keys.positive_or("logit_scale", 1.0, kMostScale));
}

}  // namespace

extern const Architecture kGranite = {.name = "granite", .interleaved_pairs = true, .describe = describe_granite};
extern const Architecture kGraniteMoe = {.name = "granitemoe", .interleaved_pairs = true, .describe = describe_granite};

}  // namespace qjl::engine
