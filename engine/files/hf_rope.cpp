// The RoPE of config.json -> keys of GGUF. rope_parameters, or rope_scaling beside rope_theta; one object for all layers, or one for
// each type of layer. Source: modeling_rope_utils of transformers 5.
#include <cmath>

#include "hf_config.hpp"
#include "printable.hpp"

namespace qjl::engine {
namespace {

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
