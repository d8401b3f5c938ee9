// A valid tiny model with some of its keys changed, added or taken away: refused with a qjl::Error, or run to the end of an evaluation
// whose figures are finite.
#include <cmath>

#include "eval.hpp"
#include "fuzz_input.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

using namespace qjl::engine;
using qjl_fuzz::FuzzInput;

namespace {

constexpr const char* kFamilies[] = {"llama",  "gemma3",  "qwen2", "qwen3",   "phi3",
                                     "gemma2", "granite", "olmo2", "gpt-oss", "qwen35"};
constexpr const char* kKeys[] = {"block_count",
                                 "embedding_length",
                                 "feed_forward_length",
                                 "attention.head_count",
                                 "attention.head_count_kv",
                                 "attention.key_length",
                                 "attention.value_length",
                                 "attention.layer_norm_rms_epsilon",
                                 "attention.scale",
                                 "attention.sliding_window",
                                 "attention.sliding_window_pattern",
                                 "attn_logit_softcapping",
                                 "final_logit_softcapping",
                                 "context_length",
                                 "vocab_size",
                                 "expert_count",
                                 "expert_used_count",
                                 "rope.dimension_count",
                                 "rope.freq_base",
                                 "rope.scaling.type",
                                 "rope.scaling.factor",
                                 "rope.scaling.original_context_length",
                                 "embedding_scale",
                                 "residual_scale",
                                 "logit_scale",
                                 "full_attention_interval",
                                 "nextn_predict_layers",
                                 "ssm.conv_kernel",
                                 "ssm.state_size",
                                 "ssm.group_count",
                                 "ssm.time_step_rank",
                                 "ssm.inner_size"};

// Numbers near those that fit, and any.
std::uint32_t draw_number(FuzzInput& input) {
  constexpr std::uint32_t kLikely[] = {0, 1, 2, 3, 32, 63, 64, 65, 95, 96, 97, 127, 128, 129, 192, 256, 512, 1u << 20};
  const std::size_t which = input.below(std::size(kLikely) + 1);
  return which < std::size(kLikely) ? kLikely[which] : input.number<std::uint32_t>();
}

// The tensors that a family has beside llama's or instead of them, so that its unchanged model is evaluated.
test::TinyModel tiny_of(const std::string& family) {
  if (family == "gemma3") return test::TinyModel::gemma3();
  if (family == "qwen35") return test::TinyModel::qwen35();
  test::TinyModel tiny(family);
  const auto ones = [](std::int64_t length) {
    return test::TinyTensor{{length}, std::vector(static_cast<std::size_t>(length), 1.0f)};
  };
  const bool over_all_heads = family == "olmo2", has_post_norms = over_all_heads || family == "gemma2";
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    if (over_all_heads || family == "qwen3") {
      tiny.tensors[layer + "attn_q_norm.weight"] = ones(over_all_heads ? 128 : 64);
      tiny.tensors[layer + "attn_k_norm.weight"] = ones(64);
    }
    if (!has_post_norms) continue;
    for (const char* name : {"post_attention_norm.weight", "post_ffw_norm.weight"}) tiny.norm(layer + name);
    if (!over_all_heads) continue;
    for (const char* name : {"attn_norm.weight", "ffn_norm.weight"}) tiny.tensors.erase(layer + name);
  }
  if (family == "gemma2") tiny.keys["gemma2.attention.sliding_window"] = 32u;
  return tiny;
}

test::TinyModel draw_model(FuzzInput& input) {
  const std::string family = kFamilies[input.below(std::size(kFamilies))];
  test::TinyModel tiny = tiny_of(family);
  for (int changes = 0; changes < 8 && !input.empty(); ++changes) {
    const std::string key = family + "." + kKeys[input.below(std::size(kKeys))];
    switch (input.below(4)) {
      case 0: tiny.keys.erase(key); break;
      case 1: tiny.keys[key] = draw_number(input); break;
      case 2: tiny.keys[key] = input.number<float>(); break;
      default: tiny.keys[key] = input.text(input.below(12)); break;
    }
  }
  return tiny;
}

void run(FuzzInput& input) {
  const auto bytes = draw_model(input).bytes();
  Model model = Model::load(parse_model_file(bytes, "fuzz"));
  std::vector<Token> tokens;
  for (int i = 0; i < 150; ++i) tokens.push_back(static_cast<Token>(input.below(100)));
  qjl::ThreadPool threads(1);
  const EvalReport report = evaluate(model, tokens, {.context = 150, .prompt = 100, .caches = {"k3v2"}}, threads, {});
  qjl_fuzz::require(std::isfinite(report.results.front().kld_mean), "figures are numbers");
  qjl_fuzz::require(report.results.front().positions == 50, "as many positions as were asked for");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input(data, size);
  try {
    run(input);
  } catch (const qjl::Error&) {
  }
  return 0;
}
