// SmolLM 3: llama whose every fourth layer does not turn queries and keys (NoPE). No key says so.
// Source: SmolLM3 (Hugging Face, 2025); RoPE to NoPE and back (arXiv 2501.18795).
#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"

namespace qjl::engine {
namespace {

constexpr std::size_t kPeriod = 4;

void describe_smollm3(const MetadataKeys&, ModelConfig& config) {
  for (std::size_t l = kPeriod - 1; l < config.layers.size(); l += kPeriod) {
    config.layers[l].rope = RopeConfig{.interleaved = config.layers[l].rope.interleaved};
  }
}

}  // namespace

extern const Architecture kSmollm3 = {.name = "smollm3", .interleaved_pairs = true, .describe = describe_smollm3};

}  // namespace qjl::engine
