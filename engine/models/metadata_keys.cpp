// MetadataKeys: bounds, errors that name the key, what was found and what was wanted, and the one list of the keys that no row reads.
#include "metadata_keys.hpp"

#include <algorithm>
#include <iterator>
#include <variant>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// Keys that tell of a model and change no number of its forward pass.
constexpr std::string_view kIgnored[] = {
    "vocab_size",  // where a tokenizer's length is taken
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",  // of a scaling that needs none, as the next two
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "tensor_data_layout",
    "leading_dense_block_count",  // tensors show which layers have experts
    "interleave_moe_layer_step",
    "decoder_sparse_step",
    "expert_shared_count",
    "pooling_type",
    "attention.key_length_swa",  // checked against key_length, and the next against value_length, for every row
    "attention.value_length_swa",
};

// Keys that would change the arithmetic, with the number at which they do not (booleans: 0 and 1). Most files write 0 for "none".
enum class Zero : std::uint8_t { is_none, is_a_number };
struct Refused {
  std::string_view name;
  double harmless;
  Zero zero = Zero::is_none;
};
constexpr Refused kRefused[] = {
    {"attention.causal", 1, Zero::is_a_number},
    {"attention.max_alibi_bias", 0},
    {"attention.clamp_kqv", 0},
    {"attention.scale", 0},
    {"attention.output_scale", 1},
    {"attention.value_scale", 1},
    {"attention.temperature_scale", 0},
    {"attention.temperature_length", 0},
    {"attention.sliding_window", 0},
    {"attention.sliding_window_pattern", 1},
    {"attention.shared_kv_layers", 0},
    {"attention.q_lora_rank", 0},
    {"attention.kv_lora_rank", 0},
    {"attention.key_length_mla", 0},
    {"attention.value_length_mla", 0},
    {"attention.group_norm_groups", 0},
    {"attention.layer_norm_epsilon", 0},
    {"attention.indexer.head_count", 0},
    {"attention.indexer.top_k", 0},
    {"attention.recurrent_layers", 0},
    {"attn_logit_softcapping", 0},
    {"router_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {"logit_scale", 1},
    {"use_parallel_residual", 0},
    {"swin_norm", 0},
    {"rope.scaling.attn_factor", 1, Zero::is_a_number},
    {"rope.scaling.yarn_attn_factor", 1, Zero::is_a_number},
    {"rope.scaling.yarn_ext_factor", 0},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"rope.scaling.alpha", 0},
    {"rope.freq_base_swa", 0},
    {"rope.dimension_count_swa", 0},
    {"rope.dimension_sections", 0},
    {"expert_count", 0},
    {"expert_group_count", 1},
    {"expert_group_used_count", 1},
    {"expert_weights_scale", 1},
    {"expert_weights_norm", 0},
    {"expert_gating_func", 1},
    {"moe_every_n_layers", 1},
    {"nextn_predict_layers", 0},
    {"embedding_length_per_layer_input", 0},
    {"activation_sparsity_scale", 0},
    {"altup.num_inputs", 0},
    {"ssm.conv_kernel", 0},
    {"ssm.state_size", 0},
    {"ssm.inner_size", 0},
    {"shortconv.l_cache", 0},
    {"full_attention_interval", 1},
    {"swiglu_limits", 0},
    {"swiglu_clamp_exp", 0},
    {"swiglu_clamp_shexp", 0},
    {"hidden_activation", -1},
};

// One number as such; texts and arrays are none.
std::optional<double> as_number(const FileValue& value) {
  return std::visit(
      []<typename T>(const T& v) -> std::optional<double> {
        if constexpr (std::is_arithmetic_v<T>) return static_cast<double>(v);
        return std::nullopt;
      },
      value);
}

}  // namespace

std::string MetadataKeys::asked(const char* name) const {
  asked_.insert(name);
  return prefix_ + name;
}

bool MetadataKeys::has_positive(const char* name) const {
  const FileValue* value = find(name);
  return value != nullptr && as_number(*value) != 0.0;
}

double MetadataKeys::number_within(const char* name, double least, double most) const {
  const double value = file_.number(asked(name));
  if (!(value >= least && value <= most))
    refuse_model(prefix_ + name, std::to_string(value), std::to_string(least) + " to " + std::to_string(most));
  return value;
}

std::optional<std::vector<bool>> MetadataKeys::flags(const char* name) const {
  const FileValue* value = find(name);
  const auto* numbers = value == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(value);
  if (numbers == nullptr) return std::nullopt;
  std::vector<bool> flags;
  std::ranges::transform(*numbers, std::back_inserter(flags), [](std::int64_t number) { return number != 0; });
  return flags;
}

std::vector<std::string> MetadataKeys::check_others() const {
  const bool has_experts = has_positive("expert_count");
  std::vector<std::string> warnings;
  for (const std::string& key : file_.keys()) {
    if (!key.starts_with(prefix_)) continue;
    const std::string name = key.substr(prefix_.size());
    if (asked_.contains(name) || std::ranges::find(kIgnored, name) != std::end(kIgnored)) continue;
    if (!has_experts && name.starts_with("expert_")) continue;
    const auto* refused = std::ranges::find(kRefused, name, &Refused::name);
    if (refused == std::end(kRefused)) {
      warnings.push_back("key " + printable(key) + " is not known and not followed");
      continue;
    }
    const std::optional<double> number = as_number(*file_.find(key));
    if (number == refused->harmless || (number == 0.0 && refused->zero == Zero::is_none)) continue;
    throw Error(ErrorKind::unsupported, "[model] key " + key + " is " + (number ? std::to_string(*number) : "a list or a text") +
                                            ", which this family is not run with, wanted no such key");
  }
  return warnings;
}

void refuse_model(const std::string& subject, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[model] " + subject + " is " + found + ", wanted " + wanted);
}

std::int64_t bounded(const std::string& subject, std::int64_t value, std::int64_t most) {
  if (value < 1 || value > most) refuse_model(subject, std::to_string(value), "1 to " + std::to_string(most));
  return value;
}

std::int64_t MetadataKeys::integer(const char* name, std::int64_t most) const {
  return bounded(prefix_ + name, file_.integer(asked(name)), most);
}

std::int64_t MetadataKeys::integer_or(const char* name, std::int64_t absent, std::int64_t most) const {
  return bounded(prefix_ + name, file_.integer_or(asked(name), absent), most);
}

std::vector<std::int64_t> MetadataKeys::of_layers(const char* name, int num_layers, std::int64_t most) const {
  const auto layers = static_cast<std::size_t>(num_layers);
  const FileValue* value = find(name);
  const auto* numbers = value == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(value);
  if (numbers == nullptr) return std::vector(layers, integer(name, most));
  if (numbers->size() != layers) {
    refuse_model("the length of " + prefix_ + name, std::to_string(numbers->size()),
                 std::to_string(num_layers) + ", one for a layer");
  }
  for (std::size_t l = 0; l < layers; ++l) bounded(prefix_ + name + " of layer " + std::to_string(l), (*numbers)[l], most);
  return *numbers;
}

std::int64_t MetadataKeys::of_all_layers(const char* name, int num_layers, std::int64_t most) const {
  const std::vector<std::int64_t> each = of_layers(name, num_layers, most);
  for (std::size_t l = 1; l < each.size(); ++l) {
    if (each[l] == each[0]) continue;
    throw Error(ErrorKind::unsupported, "[model] " + prefix_ + name + " is " + std::to_string(each[0]) + " in layer 0 and " +
                                            std::to_string(each[l]) + " in layer " + std::to_string(l) +
                                            ", wanted the same in all layers");
  }
  return each[0];
}

double MetadataKeys::positive_or(const char* name, double absent, double most) const {
  const double value = file_.number_or(asked(name), absent);
  if (!(value > 0.0 && value <= most))
    refuse_model(prefix_ + name, std::to_string(value), "above 0 and at most " + std::to_string(most));
  return value;
}

}  // namespace qjl::engine
