// Families of models as folders of Hugging Face hold them: a row for each model_type of config.json.
//
// What differs from family to family in the names and layouts of the files, and nothing of what the model computes, which is the
// architecture's row (engine/models).
#pragma once

#include <cstdint>
#include <string_view>

namespace qjl::engine {

// Where config.json says which layers see a window.
enum class HfWindows : std::uint8_t {
  none,
  every_layer,  // sliding_window, where it is not null
  where_used,   // the same with use_sliding_window, in the layers of layer_types
  by_pattern,   // sliding_window in the layers of layer_types, or all but one of sliding_window_pattern
};

struct HfFamily {
  std::string_view model_type;    // of config.json
  std::string_view architecture;  // whose row of engine/models runs it
  HfWindows windows = HfWindows::none;
  bool norms_after_branches = false;  // post_attention_layernorm stands after attention, not before the feed-forward part
  bool norms_add_one = false;         // norms multiply by 1 + w
  bool has_state_layers = false;      // layer_types may name linear_attention (gated delta nets)
  bool windows_turn_plainly = false;  // layers with a window turn by a RoPE of their own, without scaling
  bool has_experts = false;
  bool experts_by_columns = false;  // gate_up_proj [experts, hidden, 2 width], a gate's column beside its up's
  bool yarn_between_pairs = false;  // "truncate": false
  std::string_view activation = "silu";
  // What the family's class takes where config.json is silent: a JSON object.
  std::string_view defaults = "{}";
};

// Errors: unsupported on a model_type that no row has (lists them).
const HfFamily& find_hf_family(std::string_view model_type);

}  // namespace qjl::engine
