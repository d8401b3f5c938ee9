// The options that several verbs have, and what their words mean.
#include "options.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "named_templates.hpp"
#include "qjl/error.hpp"
#include "ranges.hpp"

namespace qjl::cli {

namespace {

void add_rope_options(CLI::App& command, engine::RopeOptions& rope) {
  using Scaling = engine::RopeOptions::Scaling;
  const std::map<std::string, Scaling> names = {{"none", Scaling::none}, {"linear", Scaling::linear}, {"yarn", Scaling::yarn}};
  command
      .add_option_function<std::string>(
          "--rope-scaling", [&rope, names](const std::string& name) { rope.scaling = names.at(name); },
          "scaling of RoPE: none, linear or yarn (default: the model's)")
      ->check(CLI::IsMember(names))
      ->group("Model");
  const auto add = [&](const char* name, std::optional<double>& value, const char* text, const CLI::Validator& range) {
    return command.add_option(name, value, text)->transform(range)->group("Model");
  };
  auto* factor = add("--rope-scale", rope.factor, "how much longer contexts are than RoPE's original one", positive());
  command
      .add_option_function<double>(
          "--rope-freq-scale", [&rope](double scale) { rope.factor = 1.0 / scale; }, "the same as 1 / --rope-scale")
      ->transform(positive())
      ->excludes(factor)
      ->group("Model");
  add("--rope-freq-base", rope.base, "base of RoPE (default: the model's)", positive());
  add("--yarn-orig-ctx", rope.yarn_original_context, "YaRN: original context in tokens (default: the model's)", positive());
  add("--yarn-ext-factor", rope.yarn_ext_factor, "YaRN: 0 divides all frequencies, 1 leaves high ones (default 1)", share());
  add("--yarn-attn-factor", rope.yarn_attention_factor, "YaRN: queries and keys are multiplied by this, too (default 1)",
      positive());
  add("--yarn-beta-fast", rope.yarn_beta_fast, "YaRN: turns within the original context that stay (default 32)", positive());
  add("--yarn-beta-slow", rope.yarn_beta_slow, "YaRN: turns that are divided by the whole factor (default 1)", positive());
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("-m,--model", options.path, "model: a GGUF file, or a folder of Hugging Face")->required()->group("Model");
  command.add_option("-c,--ctx-size", options.context, "context length in tokens (default, and 0: the model's)")
      ->transform(whole(0))
      ->group("Model");
  command.add_option("-t,--threads", options.threads, "threads (default: all processors)")
      ->transform(whole(1, 1024))
      ->group("Model");
  add_rope_options(command, options.rope);
}

void add_memory_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option_function<std::string>(
          "--memory", [&options](const std::string& text) { options.memory = read_bytes(text); },
          "instead of -c: 6G, 1500M ... for weights, passes and cache together; prompts are read in chunks")
      ->excludes("--ctx-size")
      ->group("Model");
}

void add_cache_options(CLI::App& command, CacheOptions& options) {
  command
      .add_option("--cache", options.type,
                  "cache type: f16, k2v2, k3v2 (default), k3v3, k4v3, k4v4, paper ..., or a plan's file (.json)")
      ->group("Cache");
  command.add_option("--cache-type-k", options.key_type, "-ctk: keys alone: f16, k1 .. k4 (default k3)")->group("Cache");
  command.add_option("--cache-type-v", options.value_type, "-ctv: values alone: f16, v1 .. v4 (default v2)")->group("Cache");
  command
      .add_option("--device", options.device,
                  "where the cache is and attention runs: cpu (default), cuda:0, cuda:1 ...; products of weights stay on the cpu")
      ->group("Cache");
}

void add_saved_cache_options(CLI::App& command, SavedCacheOptions& options) {
  command
      .add_option("--load-cache", options.load,
                  "saved cache (.qjlkv.safetensors) to go on with: mapped, attended to in place; its text comes before the prompt")
      ->group("Cache");
  command.add_option("--save-cache", options.save, "save the cache to this file at the end, whole or not at all")->group("Cache");
}

void add_arithmetic_option(CLI::App& command, engine::Arithmetic& arithmetic) {
  const std::map<std::string, engine::Arithmetic> names = {{"exact", engine::Arithmetic::exact},
                                                           {"fast", engine::Arithmetic::fast}};
  const std::string usual = arithmetic == engine::Arithmetic::exact ? "exact" : "fast";
  command.add_option("--arithmetic", arithmetic, "matrix products: exact (fp32) or fast (integers), default " + usual)
      ->transform(CLI::CheckedTransformer(names))
      ->group("Model");
}

void add_output_options(CLI::App& command, OutputOptions& options) {
  command.add_flag("--json", options.json, "print one JSON object instead of text")->group("Output");
  command.add_option("-o,--output", options.file, "write the result to this file, whole or not at all")->group("Output");
  command.add_option("--log-level", options.log_level, "what stderr tells: debug, info, warn (default), error, off")
      ->envname("QJL_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->group("Output");
}

void add_template_options(CLI::App& command, TemplateOptions& options) {
  command.add_option("--chat-template", options.name, "auto (the model's), a file of Jinja, or one of " + engine::template_names())
      ->group("Prompt");
  command
      .add_option("--chat-template-kwargs", options.variables,
                  "JSON object of what else the template reads, as {\"enable_thinking\": false} or {\"tools\": [...]}")
      ->group("Prompt");
}

void add_sampling_options(CLI::App& command, engine::SamplingConfig& sampling) {
  const auto usual = [](auto value) { return "default " + CLI::detail::to_string(value); };
  const auto add = [&](const char* name, auto& value, const std::string& text) {
    return command.add_option(name, value, text)->group("Sampling");
  };
  command
      .add_option_function<std::string>(
          "--seed", [&sampling](const std::string& text) { sampling.seed = read_seed(text); },
          "seed of the sampler (" + usual(sampling.seed) + "; -1: by chance)")
      ->group("Sampling");
  add("--temp", sampling.temperature, "temperature, 0: the likeliest token (" + usual(sampling.temperature) + ")")
      ->transform(not_negative());
  add("--top-k", sampling.top_k, "keep the k likeliest tokens, 0: off (" + usual(sampling.top_k) + ")")
      ->transform(whole(0, kMostInt));
  add("--top-p", sampling.top_p, "keep the likeliest tokens that reach p together, 1: off (" + usual(sampling.top_p) + ")")
      ->transform(positive_share());
  add("--min-p", sampling.min_p, "drop tokens below p times the best, 0: off (" + usual(sampling.min_p) + ")")->transform(share());
  add("--repeat-penalty", sampling.repeat_penalty, "penalty on the last 64 tokens, 1: off (" + usual(sampling.repeat_penalty) + ")")
      ->transform(positive());
}

void add_generate_options(CLI::App& command, GenerateOptions& options) {
  add_arithmetic_option(command, options.arithmetic);
  command.add_option("-n,--n-predict", options.max_tokens, "tokens to make at most (default: until the model ends)")
      ->transform(whole(-1, std::int64_t{1} << 40))
      ->group("Prompt");
  command
      .add_option("--chunk", options.chunk, "tokens of prompt per pass; later passes read the compressed cache (default: one pass)")
      ->transform(whole(1))
      ->group("Prompt");
  add_template_options(command, options.chat_template);
  command
      .add_option_function<std::string>(
          "--system", [&options](const std::string& text) { options.system = text; }, "system message; '' for an empty one")
      ->group("Prompt");
  command
      .add_flag_callback(
          "--special", [&options] { options.special = SpecialTokens::shown; },
          "print the special tokens of an answer, too, as they are written")
      ->group("Output");
  add_sampling_options(command, options.sampling);
}

void apply_log_level(const OutputOptions& options) {
  if (!options.log_level.empty()) spdlog::set_level(spdlog::level::from_str(options.log_level));
}

engine::CacheType cache_type(const std::string& type) {
  try {
    return engine::read_cache_type(type);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::invalid_argument) throw Usage(error.what());
    throw;
  }
}

engine::CacheType cache_type(const CacheOptions& options) {
  const bool split = !options.key_type.empty() || !options.value_type.empty();
  if (split && !options.type.empty()) throw Usage("[options] found --cache together with -ctk or -ctv, wanted one of the two ways");
  if (!split) return cache_type(options.type.empty() ? "k3v2" : options.type);
  try {
    const CodecConfig codec =
        codec_config(options.key_type.empty() ? "k3" : options.key_type, options.value_type.empty() ? "v2" : options.value_type);
    return {cache_type_name(codec), codec};
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

Device cache_device(const CacheOptions& options) {
  Device device;
  try {
    device = device_of(options.device);
  } catch (const Error& error) {
    throw Usage(error.what());
  }
  if (device == Device::cpu()) return device;
  const CudaDevices found = cuda_devices();
  std::string known;
  for (const CudaDevice& each : found.devices) {
    if (each.index == device.index) return device;
    known += " " + device_name(Device::cuda(each.index));
  }
  throw Error(ErrorKind::unsupported, "[options] --device " + options.device + ": " +
                                          (known.empty() ? found.absence : "found" + known + ", wanted " + options.device));
}

namespace {

// A dash and several letters: CLI11 would read -ngl as -n with the value gl.
bool has_letters(const std::string& word) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return word.size() > 2 && word[0] == '-' && is_letter(word[1]) && is_letter(word[2]);
}

// Whether the next word is the value of this option, and may begin with a dash. A word with a value of its own (-t2, --seed=1) awaits
// none.
bool awaits_value(const std::string& option) {
  constexpr std::string_view kFlags[] = {"--json", "--escape", "-e", "-h", "--help", "--version", "--reproducible", "--special"};
  const bool is_long = option.starts_with("--") && option.find('=') == std::string::npos;
  const bool is_short = option.size() == 2 && option[0] == '-';
  return (is_long || is_short) && std::ranges::find(kFlags, option) == std::end(kFlags);
}

}  // namespace

std::vector<std::string> spell_out_short_words(int argc, const char* const* argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  bool is_value = false;
  for (std::string& word : words) {
    if (word == "--") break;
    if (std::exchange(is_value, false)) continue;
    if (word == "-sp") word = "--special";
    if (word == "-np" || word.starts_with("-np=")) word = "--parallel" + word.substr(3);
    for (const char side : {'k', 'v'}) {
      const std::string brief = std::string("-ct") + side;
      const bool alone = word == brief, with_value = word.starts_with(brief + "=");
      if (alone || with_value) word = std::string("--cache-type-") + side + word.substr(brief.size());
    }
    if (has_letters(word)) throw Usage("[options] found " + word + ", which is no option of this program (--help lists them)");
    is_value = awaits_value(word);
  }
  return words;
}

}  // namespace qjl::cli
