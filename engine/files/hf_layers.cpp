// What config.json says of layers -> keys of GGUF: which see a window, which keep a state in place of keys, and how they turn.
//
// RoPE is rope_parameters, or rope_scaling beside rope_theta; one object for all layers, or one for each type of layer.
// Source: modeling_rope_utils of transformers 5.
#include <algorithm>
#include <cmath>

#include "hf_config.hpp"
#include "printable.hpp"

namespace qjl::engine {
namespace {

class LayerKeys {
 public:
  LayerKeys(const HfKeys& keys, HfConfig& config) : keys_(keys), config_(config), layers_(keys.integer("num_hidden_layers")) {}

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

// What transformers multiplies the logarithm of a factor by: 1 + 0.1 m log(factor).
double magnitude(double factor, double m) { return factor <= 1.0 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

class RopeKeys {
 public:
  RopeKeys(const HfKeys& outer, const FileJson& object, HfConfig& config)
      : outer_(outer), rope_(object, "config.json rope_parameters"), config_(config) {}

  // Keys of the layers that see all, or of all layers.
  void read();
  // Of the layers with a window: only their base.
  void read_window_base(const FileJson& full);

 private:
  void set(const char* ours, FileValue value) {
    config_.values[std::string(config_.family->architecture) + "." + ours] = std::move(value);
  }
  std::string type() const;
  double base() const { return rope_.number_or("rope_theta", outer_.number_or("rope_theta", 10000.0)); }
  std::int64_t original_context() const;
  void read_llama3();
  void read_yarn();
  void read_longrope();
  void check_others() const;

  const HfKeys& outer_;
  HfKeys rope_;
  HfConfig& config_;
};

std::string RopeKeys::type() const {
  const std::string old = rope_.text_or("type", "default"), type = rope_.text_or("rope_type", old.c_str());
  const bool is_longrope = type == "su" || (type == "yarn" && rope_.find("long_factor") != nullptr);  // older names of Phi 3
  return is_longrope ? "longrope" : type;
}

std::int64_t RopeKeys::original_context() const {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const char* key = "original_max_position_embeddings";
  const std::int64_t tokens =
      outer_.find(key) != nullptr ? outer_.integer(key) : rope_.integer_or(key, outer_.integer("max_position_embeddings"));
  if (tokens < 1 || tokens > kMost) rope_.fail(key, std::to_string(tokens), "1 to 2^40");
  return tokens;
}

void RopeKeys::read_llama3() {
  set("rope.scaling.type", std::string("llama3"));
  set("rope.scaling.factor", rope_.number("factor"));
  set("rope.scaling.low_freq_factor", rope_.number("low_freq_factor"));
  set("rope.scaling.high_freq_factor", rope_.number("high_freq_factor"));
  set("rope.scaling.original_context_length", original_context());
}

void RopeKeys::read_yarn() {
  const std::int64_t original = original_context();
  const double factor =
      rope_.number_or("factor", static_cast<double>(outer_.integer("max_position_embeddings")) / static_cast<double>(original));
  set("rope.scaling.type", std::string("yarn"));
  set("rope.scaling.factor", factor);
  set("rope.scaling.original_context_length", original);
  set("rope.scaling.yarn_beta_fast", rope_.number_or("beta_fast", 32.0));
  set("rope.scaling.yarn_beta_slow", rope_.number_or("beta_slow", 1.0));
  const double over = rope_.number_or("mscale", 0.0), under = rope_.number_or("mscale_all_dim", 0.0);
  if (const double given = rope_.number_or("attention_factor", 0.0); given != 0.0) {
    set("rope.scaling.yarn_attn_factor", given);
  } else if (over != 0.0 && under != 0.0) {
    set("rope.scaling.yarn_attn_factor", magnitude(factor, over) / magnitude(factor, under));
  }
  if (rope_.boolean_or("truncate", true) == config_.family->yarn_between_pairs) {
    rope_.refuse("truncate", config_.family->yarn_between_pairs ? "true" : "false", "the other, as the family has it");
  }
}

void RopeKeys::read_longrope() {
  set("rope.scaling.type", std::string("longrope"));
  set("rope.scaling.original_context_length", original_context());
  if (const double given = rope_.number_or("attention_factor", 0.0); given != 0.0) set("rope.scaling.attn_factor", given);
  rope_.number_or("factor", 1.0);  // that of the contexts counts
  config_.divisors["rope_factors_long.weight"] = rope_.numbers("long_factor");
  config_.divisors["rope_factors_short.weight"] = rope_.numbers("short_factor");
}

// max_position_embeddings stands there in files of Ministral 3, and nothing reads it. Sections of mrope tell where pictures stand: the
// positions of a text are the same in all of them.
void RopeKeys::check_others() const {
  for (const auto& [key, value] : rope_.object().items()) {
    if (value.is_null() || rope_.asked().contains(key) || key == "max_position_embeddings" ||
        key == "original_max_position_embeddings" || key == "mrope_section" || key == "mrope_interleaved")
      continue;
    rope_.refuse(key, json_text(value), "no such key beside type " + printable(type()));
  }
}

void RopeKeys::read() {
  const std::string type = this->type();
  set("rope.freq_base", base());
  const double part = rope_.number_or("partial_rotary_factor", outer_.number_or("partial_rotary_factor", 1.0));
  if (part != 1.0) {
    const double heads = outer_.number("num_attention_heads"), usual = std::floor(outer_.number("hidden_size") / heads);
    const double turned = outer_.number_or("head_dim", usual) * part;
    if (!(turned >= 1.0 && turned < 1e6)) rope_.fail("partial_rotary_factor", std::to_string(part), "above 0 and at most 1");
    set("rope.dimension_count", static_cast<std::int64_t>(turned));
  }
  if (config_.family->architecture == "mistral3") {
    set("attention.temperature_scale", rope_.number_or("llama_4_scaling_beta", 0.0));
  }
  if (type == "linear") {
    set("rope.scaling.type", type);
    set("rope.scaling.factor", rope_.number("factor"));
  } else if (type == "llama3") {
    read_llama3();
  } else if (type == "yarn") {
    read_yarn();
  } else if (type == "longrope") {
    read_longrope();
  } else if (type == "default") {
    rope_.number_or("factor", 1.0);  // without effect
  } else {
    rope_.refuse("rope_type", printable(type), "default, linear, llama3, yarn or longrope");
  }
  check_others();
}

void RopeKeys::read_window_base(const FileJson& full) {
  set("rope.freq_base_swa", base());
  if (config_.family->windows_turn_plainly) {
    if (type() != "default") rope_.refuse("sliding_attention", printable(type()), "default");
  } else if (rope_.object() != full) {
    rope_.refuse("sliding_attention", "another RoPE", "that of full_attention");
  }
}

}  // namespace

void read_hf_layers(const HfKeys& keys, HfConfig& config) {
  LayerKeys layers(keys, config);
  config.family->has_state_layers ? layers.read_state_layers() : layers.read_windows();
}

void read_hf_rope(const HfKeys& keys, HfConfig& config) {
  const FileJson empty = FileJson::object();
  const FileJson* found = keys.find("rope_parameters");
  const FileJson* old = keys.find("rope_scaling");
  if (found == nullptr) found = old;
  if (found == nullptr) found = &empty;
  if (!found->is_object()) keys.fail("rope_parameters", json_text(*found), "an object");
  const FileJson *full = find_json(*found, "full_attention"), *windowed = find_json(*found, "sliding_attention");
  const double local_base = keys.number_or("rope_local_base_freq", 0.0);
  for (const auto* part : {full, windowed}) {
    if (part != nullptr && !part->is_object()) keys.fail("rope_parameters", json_text(*part), "an object for each type of layer");
  }
  RopeKeys(keys, full != nullptr ? *full : *found, config).read();
  const bool has_windows = config.values.contains(std::string(config.family->architecture) + ".attention.sliding_window");
  if (!has_windows) return;
  if (windowed != nullptr) {
    RopeKeys(keys, *windowed, config).read_window_base(full != nullptr ? *full : empty);
  } else if (local_base > 0.0) {
    config.values[std::string(config.family->architecture) + ".rope.freq_base_swa"] = local_base;
  }
}

}  // namespace qjl::engine
