// What config.json says of single layers -> keys of GGUF: which see a window, which keep a state in place of keys.
#include <algorithm>

#include "hf_config.hpp"
#include "printable.hpp"

namespace qjl::engine {
namespace {

class LayerKeys {
 public:
  LayerKeys(const HfKeys& keys, HfConfig& config)
      : keys_(keys), config_(config), layers_(keys.integer("num_hidden_layers")) {}

  void read_windows();
  void read_state_layers();

 private:
  std::vector<std::int64_t> windowed_layers();
  void set(const char* ours, FileValue value) {
    config_.values[std::string(config_.family->architecture) + "." + ours] = std::move(value);
  }
  void copy(const char* theirs, const char* ours) { set(ours, keys_.integer(theirs)); }

  const HfKeys& keys_;
  HfConfig& config_;
  std::int64_t layers_;
};

// One number a layer: 1 where it sees a window.
std::vector<std::int64_t> LayerKeys::windowed_layers() {
  std::vector<std::int64_t> flags;
  if (const FileJson* types = keys_.find("layer_types")) {
    if (!types->is_array()) keys_.fail("layer_types", json_text(*types), "a list");
    for (const FileJson& type : *types) {
      if (type != "full_attention" && type != "sliding_attention")
        keys_.refuse("layer_types", json_text(type), "full_attention or sliding_attention");
      flags.push_back(type == "sliding_attention" ? 1 : 0);
    }
    if (std::ssize(flags) != layers_) keys_.fail("layer_types", std::to_string(flags.size()) + " layers", std::to_string(layers_));
    return flags;
  }
  if (config_.family->windows == HfWindows::where_used) keys_.refuse("use_sliding_window", "true without layer_types", "these too");
  const char* old = keys_.find("_sliding_window_pattern") != nullptr ? "_sliding_window_pattern" : "sliding_window_pattern";
  const std::int64_t every = config_.family->windows == HfWindows::by_pattern ? keys_.integer(old) : 0;
  for (std::int64_t l = 0; l < layers_; ++l) flags.push_back(every > 0 && (l + 1) % every == 0 ? 0 : 1);
  return flags;
}

void LayerKeys::read_windows() {
  const HfWindows kind = config_.family->windows;
  const std::int64_t window = keys_.integer_or("sliding_window", 0);
  const bool is_used = kind != HfWindows::where_used || keys_.boolean_or("use_sliding_window", false);
  if (kind == HfWindows::none || !is_used || window == 0) {
    const FileJson* types = keys_.find("layer_types");
    const bool is_windowed =
        types != nullptr && types->is_array() && std::ranges::find(*types, "sliding_attention") != types->end();
    if (is_windowed) keys_.refuse("layer_types", "sliding_attention", "full_attention, as there is no sliding_window");
    if (types != nullptr) windowed_layers();
    return;
  }
  const std::vector<std::int64_t> flags = windowed_layers();
  if (std::ranges::find(flags, 1) == flags.end() && kind != HfWindows::by_pattern) return;
  set("attention.sliding_window", window);
  set("attention.sliding_window_pattern", flags);
}

// Value heads stand group by group of a key head; converters to GGUF write them in turns.
void LayerKeys::read_state_layers() {
  copy("linear_conv_kernel_dim", "ssm.conv_kernel");
  copy("linear_key_head_dim", "ssm.state_size");
  copy("linear_num_key_heads", "ssm.group_count");
  copy("linear_num_value_heads", "ssm.time_step_rank");
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  const std::int64_t heads = keys_.integer("linear_num_value_heads"), dim = keys_.integer("linear_value_head_dim");
  if (heads < 1 || heads > kMost) keys_.fail("linear_num_value_heads", std::to_string(heads), "1 to 2^20");
  if (dim < 1 || dim > kMost) keys_.fail("linear_value_head_dim", std::to_string(dim), "1 to 2^20");
  set("ssm.inner_size", heads * dim);
  set("ssm.value_heads_grouped", true);
  copy("full_attention_interval", "full_attention_interval");
  if (!keys_.boolean_or("attn_output_gate", true)) keys_.refuse("attn_output_gate", "false", "true");
  const FileJson* types = keys_.find("layer_types");
  if (types == nullptr) return;
  if (!types->is_array()) keys_.fail("layer_types", json_text(*types), "a list");
  std::vector<std::int64_t> flags;
  for (const FileJson& type : *types) {
    if (type != "full_attention" && type != "linear_attention")
      keys_.refuse("layer_types", json_text(type), "full_attention or linear_attention");
    flags.push_back(type == "linear_attention" ? 1 : 0);
  }
  if (std::ssize(flags) != layers_) keys_.fail("layer_types", std::to_string(flags.size()) + " layers", std::to_string(layers_));
  set("attention.recurrent_layers", flags);
}

}  // namespace

void read_hf_layers(const HfKeys& keys, HfConfig& config) {
  LayerKeys layers(keys, config);
  config.family->has_state_layers ? layers.read_state_layers() : layers.read_windows();
}

}  // namespace qjl::engine
