// Gemma 3, the text part: RMS norms before and after each branch, GELU, a scaled embedding. Of six layers five see a window of tokens
// and turn by a RoPE of their own, unscaled; the sixth sees all and turns by the file's. Norm weights stand in files as 1 + w.
// Source: Gemma 3 (arXiv 2503.19786); keys and what they are when absent as in llama.cpp.
#include <cmath>

#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"

namespace qjl::engine {
namespace {

constexpr int kLayersOf27B = 62;

void describe_gemma3(const MetadataKeys& keys, ModelConfig& config) {
  const auto hidden = static_cast<double>(config.hidden);
  config.embedding_scale = static_cast<float>(std::sqrt(hidden));
  // The 27B, which no key tells apart, scales by its hidden row's share of a head (168) where the others take head_dim.
  if (config.num_layers == kLayersOf27B) config.attention_scale = static_cast<float>(1.0 / std::sqrt(hidden / config.num_heads));
  keys.integer("attention.sliding_window", kMostContext);  // every model of the family has one
}

}  // namespace

extern const Architecture kGemma3 = {.name = "gemma3",
                                     .head_norms = HeadNorms::each_head,
                                     .norms = Norms::pre_and_post,
                                     .activation = Activation::gelu_tanh,
                                     .full_attention_every = 6,
                                     .plain_rope_in_window = true,
                                     .window_rope_base = 10000.0,
                                     .describe = describe_gemma3};

}  // namespace qjl::engine
