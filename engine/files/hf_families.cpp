// The table of families, by the alphabet. Defaults are those of the configuration classes of transformers, of keys that files on the
// Hub leave out.
#include "hf_families.hpp"

#include <string>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr std::string_view kGemmaActivation = "gelu_pytorch_tanh";

constexpr HfFamily kFamilies[] = {
    {.model_type = "gemma2",
     .architecture = "gemma2",
     .windows = HfWindows::by_pattern,
     .norms_after_branches = true,
     .norms_add_one = true,
     .activation = kGemmaActivation,
     .defaults = R"({"tie_word_embeddings": true, "rms_norm_eps": 1e-6, "attn_logit_softcapping": 50.0,
                     "final_logit_softcapping": 30.0, "sliding_window_pattern": 2})"},
    {.model_type = "gemma3_text",
     .architecture = "gemma3",
     .windows = HfWindows::by_pattern,
     .norms_after_branches = true,
     .norms_add_one = true,
     .windows_turn_plainly = true,
     .activation = kGemmaActivation,
     .defaults = R"({"tie_word_embeddings": true, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
                     "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                     "max_position_embeddings": 131072, "query_pre_attn_scalar": 256, "sliding_window_pattern": 6})"},
    {.model_type = "gpt_oss",
     .architecture = "gpt-oss",
     .windows = HfWindows::by_pattern,
     .has_experts = true,
     .experts_by_columns = true,
     .yarn_between_pairs = true,
     .defaults = R"({"rope_theta": 150000.0, "sliding_window_pattern": 2, "rope_scaling": {"rope_type": "yarn", "factor": 32.0,
                     "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false, "original_max_position_embeddings": 4096}})"},
    {.model_type = "granite", .architecture = "granite"},
    {.model_type = "granitemoe", .architecture = "granitemoe", .has_experts = true},
    {.model_type = "llama", .architecture = "llama"},
    {.model_type = "ministral3", .architecture = "mistral3", .windows = HfWindows::every_layer},
    {.model_type = "mistral",
     .architecture = "llama",
     .windows = HfWindows::every_layer,
     .defaults = R"({"num_key_value_heads": 8})"},
    {.model_type = "mixtral",
     .architecture = "llama",
     .windows = HfWindows::every_layer,
     .has_experts = true,
     .defaults = R"({"rope_theta": 1e6, "num_key_value_heads": 8})"},
    {.model_type = "olmo2", .architecture = "olmo2", .norms_after_branches = true},
    {.model_type = "olmo3",
     .architecture = "olmo2",
     .windows = HfWindows::by_pattern,
     .norms_after_branches = true,
     .windows_turn_plainly = true,
     .defaults = R"({"rope_theta": 500000.0, "sliding_window_pattern": 4})"},
    {.model_type = "phi3", .architecture = "phi3", .windows = HfWindows::every_layer},
    {.model_type = "qwen2", .architecture = "qwen2", .windows = HfWindows::where_used},
    {.model_type = "qwen2_moe", .architecture = "qwen2moe", .windows = HfWindows::where_used, .has_experts = true},
    {.model_type = "qwen3", .architecture = "qwen3", .windows = HfWindows::where_used},
    {.model_type = "qwen3_5_moe_text",
     .architecture = "qwen35moe",
     .norms_add_one = true,
     .has_state_layers = true,
     .has_experts = true,
     .defaults =
         R"({"norm_topk_prob": true, "rms_norm_eps": 1e-6, "head_dim": 256, "partial_rotary_factor": 0.25, "full_attention_interval": 4,
                     "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
                     "linear_num_key_heads": 16, "linear_num_value_heads": 32})"},
    {.model_type = "qwen3_5_text",
     .architecture = "qwen35",
     .norms_add_one = true,
     .has_state_layers = true,
     .defaults = R"({"rms_norm_eps": 1e-6, "head_dim": 256, "partial_rotary_factor": 0.25, "full_attention_interval": 4,
                     "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
                     "linear_num_key_heads": 16, "linear_num_value_heads": 32})"},
    {.model_type = "qwen3_moe", .architecture = "qwen3moe", .windows = HfWindows::where_used, .has_experts = true},
    {.model_type = "smollm3",
     .architecture = "smollm3",
     .windows = HfWindows::where_used,
     .defaults = R"({"tie_word_embeddings": true, "rope_theta": 2e6})"},
};

}  // namespace

const HfFamily& find_hf_family(std::string_view model_type) {
  std::string names;
  for (const HfFamily& row : kFamilies) {
    if (row.model_type == model_type) return row;
    names.append(names.empty() ? "" : ", ").append(row.model_type);
  }
  throw Error(ErrorKind::unsupported, "[config.json] found model_type " + printable(model_type) + ", wanted one of " + names);
}

}  // namespace qjl::engine
