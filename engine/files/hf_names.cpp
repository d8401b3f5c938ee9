// One table of modules serves all families: only the place of post_attention_layernorm differs.
//
//   [model.][language_model.] layers.L . module . weight or bias
#include "hf_names.hpp"

#include <algorithm>
#include <utility>

namespace qjl::engine {
namespace {

constexpr std::pair<std::string_view, std::string_view> kModules[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"linear_attn.in_proj_qkv", "attn_qkv"},
    {"linear_attn.in_proj_z", "attn_gate"},
    {"linear_attn.in_proj_a", "ssm_alpha"},
    {"linear_attn.in_proj_b", "ssm_beta"},
    {"linear_attn.conv1d", "ssm_conv1d"},
    {"linear_attn.norm", "ssm_norm"},
    {"linear_attn.out_proj", "ssm_out"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate_up_proj", "ffn_up"},  // both in one matrix, as GGUF has it too
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.router", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"block_sparse_moe.router.layer", "ffn_gate_inp"},
    {"block_sparse_moe.output_linear", "ffn_down_exps"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};
constexpr std::pair<std::string_view, std::string_view> kExpertModules[] = {
    {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"}, {"down_proj", "ffn_down"},
    {"w1", "ffn_gate"},        {"w3", "ffn_up"},      {"w2", "ffn_down"},
};
constexpr std::string_view kWholeNames[][2] = {
    {"self_attn.sinks", "attn_sinks.weight"}, {"linear_attn.A_log", "ssm_a"}, {"linear_attn.dt_bias", "ssm_dt.bias"}};
constexpr std::string_view kOuter[][2] = {
    {"embed_tokens.weight", "token_embd.weight"}, {"norm.weight", "output_norm.weight"}, {"lm_head.weight", "output.weight"}};
// Of models that see pictures, and of older versions; mtp. guesses tokens further ahead.
constexpr std::string_view kLeftOut[] = {"vision_tower.", "vision_model.", "multi_modal_projector.", "visual.", "mtp."};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Digits at the start and the dot after them; empty when there are none.
std::string_view take_number(std::string_view& text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 6 || digits == text.size() || text[digits] != '.') return {};
  const std::string_view number = text.substr(0, digits);
  text.remove_prefix(digits + 1);
  return number;
}

template <typename Table>
std::string_view look_up(const Table& table, std::string_view module) {
  for (const auto& [theirs, ours] : table) {
    if (theirs == module) return ours;
  }
  return {};
}

// What stands after "layers.L."; empty when no rule knows it.
std::string name_in_layer(std::string_view rest, const HfFamily& family) {
  for (const auto& [theirs, ours] : kWholeNames) {
    if (rest == theirs) return std::string(ours);
  }
  const std::size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) return {};
  std::string_view module = rest.substr(0, dot);
  const std::string ending(rest.substr(dot));
  if (ending != ".weight" && ending != ".bias") return {};
  if (module == "post_attention_layernorm") return (family.norms_after_branches ? "post_attention_norm" : "ffn_norm") + ending;
  if (const std::string_view ours = look_up(kModules, module); !ours.empty()) return std::string(ours) + ending;
  if (!take_prefix(module, "mlp.experts.") && !take_prefix(module, "block_sparse_moe.experts.")) return {};
  const std::string_view expert = take_number(module);
  const std::string_view ours = look_up(kExpertModules, module);
  return expert.empty() || ours.empty() ? std::string() : std::string(ours) + "." + std::string(expert) + ending;
}

}  // namespace

std::string gguf_tensor_name(std::string_view name, const HfFamily& family) {
  std::string_view rest = name;
  // "language_model.model." and "model.language_model." are two ages of the same.
  while (take_prefix(rest, "model.") || take_prefix(rest, "language_model.")) {
  }
  for (const std::string_view part : kLeftOut) {
    if (rest.starts_with(part)) return {};
  }
  for (const auto& [theirs, ours] : kOuter) {
    if (rest == theirs) return std::string(ours);
  }
  if (rest.ends_with("rotary_emb.inv_freq")) return {};
  if (!take_prefix(rest, "layers.")) return std::string(name);
  const std::string_view layer = take_number(rest);
  if (layer.empty()) return std::string(name);
  const std::string ours = name_in_layer(rest, family);
  return ours.empty() ? std::string(name) : "blk." + std::string(layer) + "." + ours;
}

}  // namespace qjl::engine
