// Qwen 3.5 and its mixtures: of four layers three keep a state (gated delta nets), the fourth attends, with a gate of each head's output
// and a quarter of the channels turned. RoPE's sections tell where pictures stand; for text they are one position.
// Norm weights stand in files as 1 + w. Source: Qwen3.5 (transformers modeling_qwen3_5); names of keys as in llama.cpp.
#include "architecture.hpp"
#include "metadata_keys.hpp"

namespace qjl::engine {
namespace {

void describe_qwen35(const MetadataKeys& keys, ModelConfig&) {
  keys.has("rope.dimension_sections");  // asked for: the plain RoPE follows it
}

}  // namespace

extern const Architecture kQwen35 = {.name = "qwen35",
                                     .head_norms = HeadNorms::each_head,
                                     .full_attention_every = 4,
                                     .has_state_layers = true,
                                     .gates_attention = true,
                                     .describe = describe_qwen35};
extern const Architecture kQwen35Moe = {.name = "qwen35moe",
                                        .head_norms = HeadNorms::each_head,
                                        .full_attention_every = 4,
                                        .has_state_layers = true,
                                        .gates_attention = true,
                                        .describe = describe_qwen35};

}  // namespace qjl::engine
