// read_hf_config, and the one list of the keys of config.json that no code asks for.
#include "hf_config.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// Keys that tell of a model, of its training or of a program that runs it, and change no number of its forward pass.
constexpr std::string_view kIgnored[] = {
    "_name_or_path",
    "_model_name_or_path",
    "architectures",
    "auto_map",
    "model_type",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "bos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
    "use_cache",
    "is_decoder",  // false in a full dump of any model
    "cache_implementation",
    "initializer_range",
    "initializer_factor",
    "attention_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "hidden_dropout",
    "pretraining_tp",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "experts_per_token",  // gpt-oss: num_experts_per_tok again
    "attention_bias",
    "mlp_bias",
    "qkv_bias",  // tensors show them
    "decoder_sparse_step",
    "mlp_only_layers",  // tensors show which layers have experts
    "max_window_layers",
    "sliding_window",
    "use_sliding_window",  // read with the windows, where a family has some
    "layer_types",
    "sliding_window_pattern",
    "_sliding_window_pattern",  // likewise
    "no_rope_layer_interval",
    "rope_local_base_freq",
    "original_max_position_embeddings",
    "query_pre_attn_scalar",
    "initial_context_length",
    "transformers.js_config",
    "is_llama_config",
    "rope_interleaved",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "hidden_act",
    "hidden_activation",
    "mm_tokens_per_image",
    "boi_token_index",
    "eoi_token_index",
    "image_token_index",
    "unsloth_fixed",
    "unsloth_version",
    "id2label",
    "label2id",
    "problem_type",
    "is_local",
    "language",
    "neftune_noise_alpha",
    "max_length",
    "ep_size",
    "mamba_ssm_dtype",        // states are fp32
    "mtp_num_hidden_layers",  // tensors that are left out, as the next two
    "mtp_use_dedicated_embeddings",
    "mtp_loss_weight",
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
};

// Keys that would change the arithmetic, with what they say when they do not; null never does.
struct Refused {
  std::string_view key;
  double harmless;
};
constexpr Refused kRefused[] = {
    {"quantization_config", -1},
    {"use_bidirectional_attention", 0},
    {"is_encoder_decoder", 0},
    {"add_cross_attention", 0},
    {"attention_chunk_size", 0},
    {"clip_qkv", 0},
    {"alibi", 0},
    {"use_qk_norm", 0},
    {"qk_layernorm", 0},
    {"parallel_attn", 0},
    {"use_parallel_residual", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"attention_multiplier", 0},
    {"num_local_experts", 0},
    {"num_experts", 0},
    {"n_routed_experts", 0},
    {"kv_lora_rank", 0},
    {"q_lora_rank", 0},
    {"num_nextn_predict_layers", 0},
    {"layer_norm_eps", 0},
    {"swiglu_alpha", 1.702},
    {"swiglu_limit", 7.0},
    {"mamba_d_state", 0},
    {"linear_num_key_heads", 0},
    {"full_attention_interval", 1},
    {"shared_intermediate_size", 0},
    {"partial_rotary_factor", 1},
    {"rope_scaling", -1},
    {"num_kv_shared_layers", 0},
    {"hidden_size_per_layer_input", 0},
    {"attention_out_bias", 0},
    {"lm_head_bias", 0},
    {"scale_attn_by_inverse_layer_idx", 0},
};

FileValue as_value(const FileJson& number) {
  if (number.is_number_unsigned()) return number.get<std::uint64_t>();
  if (number.is_number_integer()) return number.get<std::int64_t>();
  return number.get<double>();
}

// The reader of the whole file.
class ConfigReader {
 public:
  explicit ConfigReader(const FileJson& object) : keys_(object, "config.json") {}

  HfConfig read();

 private:
  void set(const char* ours, FileValue value) { config_.values[prefix_ + ours] = std::move(value); }
  void copy(const char* theirs, const char* ours) {
    if (const FileJson* found = keys_.find(theirs)) {
      if (!found->is_number()) keys_.fail(theirs, json_text(*found), "a number");
      set(ours, as_value(*found));
    }
  }
  void copy_needed(const char* theirs, const char* ours) {
    keys_.number(theirs);
    copy(theirs, ours);
  }
  void read_shape();
  void read_scales();
  void read_experts();
  void check_activation();
  void read_ends();
  void check_no_rope_layers();
  void check_others();

  HfKeys keys_;
  HfConfig config_;
  std::string prefix_;
  std::int64_t layers_ = 0;
};

void ConfigReader::read_shape() {
  copy_needed("num_hidden_layers", "block_count");
  layers_ = keys_.integer("num_hidden_layers");
  if (layers_ < 1 || layers_ > 1024) keys_.fail("num_hidden_layers", std::to_string(layers_), "1 to 1024");
  copy_needed("hidden_size", "embedding_length");
  // A model of experts alone need not have a width of others.
  (config_.family->has_experts ? copy("intermediate_size", "feed_forward_length")
                               : copy_needed("intermediate_size", "feed_forward_length"));
  copy_needed("num_attention_heads", "attention.head_count");
  copy("num_key_value_heads", "attention.head_count_kv");
  copy("head_dim", "attention.key_length");
  copy("head_dim", "attention.value_length");
  copy_needed("max_position_embeddings", "context_length");
  copy_needed("rms_norm_eps", "attention.layer_norm_rms_epsilon");
  copy_needed("vocab_size", "vocab_size");
  config_.vocab_size = keys_.integer("vocab_size");
  config_.tied_embeddings = keys_.boolean_or("tie_word_embeddings", false);
  set("rope.interleaved_pairs", false);  // rows of q and k stand as transformers turns them
}

// Multipliers of Granite, caps and the scale of Gemma; another family's file must not have them (kRefused).
void ConfigReader::read_scales() {
  const std::string_view family = config_.family->architecture;
  if (family.starts_with("granite")) {
    copy("embedding_multiplier", "embedding_scale");
    copy("residual_multiplier", "residual_scale");
    copy("logits_scaling", "logit_scale");
    set("attention.scale", keys_.number_or("attention_multiplier", 1.0));
  }
  if (!family.starts_with("gemma")) return;
  set("attn_logit_softcapping", keys_.number_or("attn_logit_softcapping", 0.0));
  set("final_logit_softcapping", keys_.number_or("final_logit_softcapping", 0.0));
  const double scalar = keys_.number("query_pre_attn_scalar");
  if (!(scalar > 0.0)) keys_.fail("query_pre_attn_scalar", std::to_string(scalar), "above 0");
  if (scalar != keys_.number("head_dim")) set("attention.scale", 1.0 / std::sqrt(scalar));
}

void ConfigReader::read_experts() {
  if (!config_.family->has_experts) return;  // before a key is asked for: the family's file must have none (kRefused)
  const char* count = keys_.find("num_local_experts") != nullptr ? "num_local_experts" : "num_experts";
  copy_needed(count, "expert_count");
  copy_needed("num_experts_per_tok", "expert_used_count");
  copy("moe_intermediate_size", "expert_feed_forward_length");
  copy("shared_expert_intermediate_size", "expert_shared_feed_forward_length");
  if (keys_.find("moe_intermediate_size") != nullptr) set("expert_weights_norm", keys_.boolean_or("norm_topk_prob", false));
}

void ConfigReader::check_activation() {
  for (const char* key : {"hidden_activation", "hidden_act"}) {
    const std::string name = keys_.text_or(key, "");
    if (name.empty()) continue;
    if (name != config_.family->activation) keys_.refuse(key, printable(name), std::string(config_.family->activation));
    return;  // where both stand, Gemma's class reads the first
  }
}

void ConfigReader::read_ends() {
  const FileJson* ends = keys_.find("eos_token_id");
  if (ends == nullptr) return;
  for (const FileJson& end : ends->is_array() ? *ends : FileJson::array({*ends})) {
    if (!end.is_number_integer()) keys_.fail("eos_token_id", json_text(end), "a token's id, or several");
    config_.ends.push_back(end.get<std::int64_t>());
  }
}

// SmolLM 3: the row of the architecture knows the usual layers alone.
void ConfigReader::check_no_rope_layers() {
  const FileJson* turns = keys_.find("no_rope_layers");
  if (turns == nullptr || turns->empty()) return;
  constexpr std::int64_t kPeriod = 4;
  const bool has_still_layers = config_.family->architecture == "smollm3";
  std::vector<std::int64_t> usual;
  for (std::int64_t l = 0; l < layers_; ++l) usual.push_back(has_still_layers && (l + 1) % kPeriod == 0 ? 0 : 1);
  if (*turns != FileJson(usual)) keys_.refuse("no_rope_layers", json_text(*turns), "every fourth layer of smollm3 without RoPE");
}

void ConfigReader::check_others() {
  for (const auto& [key, value] : keys_.object().items()) {
    if (value.is_null() || keys_.asked().contains(key) || std::ranges::find(kIgnored, key) != std::end(kIgnored)) continue;
    const auto* refused = std::ranges::find(kRefused, key, &Refused::key);
    if (refused == std::end(kRefused)) {
      set(("config.json:" + key).c_str(), true);  // unknown there too, which warns
      continue;
    }
    const bool is_harmless = value.is_boolean()  ? value.get<bool>() == (refused->harmless == 1)
                             : value.is_number() ? value.get<double>() == refused->harmless
                                                 : value.is_structured() && value.empty();
    if (!is_harmless) keys_.refuse(key, json_text(value), "no such key: this family is not run with it");
  }
}

HfConfig ConfigReader::read() {
  config_.family = &find_hf_family(keys_.text_or("model_type", ""));
  prefix_ = std::string(config_.family->architecture) + ".";
  config_.values["general.architecture"] = std::string(config_.family->architecture);
  read_shape();
  read_scales();
  read_experts();
  read_hf_layers(keys_, config_);
  check_activation();
  check_no_rope_layers();
  read_ends();
  read_hf_rope(keys_, config_);
  check_others();
  return std::move(config_);
}

// What the checks of a whole file need of the part around text_config.
void check_outer(const FileJson& outer) {
  const FileJson* quantised = find_json(outer, "quantization_config");
  if (quantised == nullptr) return;
  const std::string method = json_text_or_empty(*quantised, "quant_method", "config.json");
  if (method == "mxfp4") return;  // blocks and scales are looked for among the tensors
  throw Error(ErrorKind::unsupported, "[config.json] found quantization_config of method " + printable(method) +
                                          ", wanted weights in F32, F16 or BF16, or mxfp4");
}

}  // namespace

const FileJson* HfKeys::find(const char* key) const {
  asked_.insert(key);
  return find_json(object_, key);
}

void HfKeys::fail(const std::string& key, const std::string& found, const std::string& wanted) const {
  throw Error(ErrorKind::bad_file, "[" + where_ + "] " + key + ": found " + found + ", wanted " + wanted);
}
void HfKeys::refuse(const std::string& key, const std::string& found, const std::string& wanted) const {
  throw Error(ErrorKind::unsupported, "[" + where_ + "] " + key + ": found " + found + ", wanted " + wanted);
}

std::int64_t HfKeys::integer(const char* key) const {
  const FileJson* found = find(key);
  if (found == nullptr) fail(key, "no such key", "a whole number");
  const bool fits = found->is_number_integer() && !(found->is_number_unsigned() && found->get<std::uint64_t>() >> 63 != 0);
  if (!fits) fail(key, json_text(*found), "a whole number");
  return found->get<std::int64_t>();
}
std::int64_t HfKeys::integer_or(const char* key, std::int64_t absent) const { return find(key) == nullptr ? absent : integer(key); }

double HfKeys::number(const char* key) const {
  const FileJson* found = find(key);
  if (found == nullptr) fail(key, "no such key", "a number");
  if (!found->is_number()) fail(key, json_text(*found), "a number");
  return found->get<double>();
}
double HfKeys::number_or(const char* key, double absent) const { return find(key) == nullptr ? absent : number(key); }

bool HfKeys::boolean_or(const char* key, bool absent) const {
  const FileJson* found = find(key);
  if (found == nullptr) return absent;
  if (!found->is_boolean()) fail(key, json_text(*found), "true or false");
  return found->get<bool>();
}

std::string HfKeys::text_or(const char* key, const char* absent) const {
  const FileJson* found = find(key);
  if (found == nullptr) return absent;
  if (!found->is_string()) fail(key, json_text(*found), "a text");
  return found->get<std::string>();
}

std::vector<float> HfKeys::numbers(const char* key) const {
  const FileJson* found = find(key);
  if (found == nullptr || !found->is_array()) fail(key, found == nullptr ? "no such key" : json_text(*found), "a list of numbers");
  std::vector<float> out;
  for (const FileJson& number : *found) {
    if (!number.is_number()) fail(key, json_text(number), "numbers");
    out.push_back(static_cast<float>(number.get<double>()));
  }
  return out;
}

HfConfig read_hf_config(const FileJson& config) {
  check_outer(config);
  const FileJson* part = find_json(config, "text_config");
  FileJson text = part != nullptr ? *part : config;
  if (!text.is_object()) refuse_json("config.json", "text_config " + json_text(text), "an object");
  text.erase("quantization_config");
  for (const char* key : {"eos_token_id", "tie_word_embeddings"}) {
    if (const FileJson* outer = find_json(config, key); part != nullptr && outer != nullptr && !text.contains(key))
      text[key] = *outer;
  }
  const HfFamily& family = find_hf_family(json_text_or_empty(text, "model_type", "config.json"));
  const FileJson defaults = FileJson::parse(family.defaults);
  for (const auto& [key, value] : defaults.items()) {
    if (!text.contains(key)) text[key] = value;
  }
  return ConfigReader(text).read();
}

}  // namespace qjl::engine
