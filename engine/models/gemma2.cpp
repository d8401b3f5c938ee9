// Gemma 2: RMS norms before and after each branch, GELU, a scaled embedding; soft caps of attention's logits and of the model's; every
// second layer, from the first on, sees a window. Norm weights stand in files as 1 + w.
// Source: Gemma 2 (arXiv 2408.00118); keys and what they are when absent as in llama.cpp.
#include <cmath>

#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"

namespace qjl::engine {
namespace {

constexpr int kLayersOf27B = 46;
constexpr float kAttentionCap = 50.0f, kLogitCap = 30.0f;

void describe_gemma2(const MetadataKeys& keys, ModelConfig& config) {
  const auto hidden = static_cast<double>(config.hidden);
  config.embedding_scale = static_cast<float>(std::sqrt(hidden));
  // The 27B, which no key tells apart, scales by its hidden row's share of a head (144) where the others take head_dim.
  if (config.num_layers == kLayersOf27B) config.attention_scale = static_cast<float>(1.0 / std::sqrt(hidden / config.num_heads));
  if (!keys.has("attn_logit_softcapping")) config.attention_soft_cap = kAttentionCap;
  if (!keys.has("final_logit_softcapping")) config.logit_soft_cap = kLogitCap;
  keys.integer("attention.sliding_window", kMostContext);  // every model of the family has one
}

}  // namespace

extern const Architecture kGemma2 = {.name = "gemma2",
                                     .norms = Norms::pre_and_post,
                                     .activation = Activation::gelu_tanh,
                                     .full_attention_every = 2,
                                     .describe = describe_gemma2};

}  // namespace qjl::engine
