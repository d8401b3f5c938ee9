// A turn of `run` or `chat`: prompt pieces, progress, the report of what it took.
#include "generation.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "files.hpp"
#include "interrupt.hpp"
#include "memory_budget.hpp"
#include "named_templates.hpp"
#include "progress.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::cli {
namespace {

using engine::Turn;

double per_second(std::int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0.0; }

double decode_speed(const Turn& turn) { return per_second(std::max<std::int64_t>(turn.tokens - 1, 0), turn.decode_seconds); }

std::string cache_name(const KvCache& cache) {
  return cache.config().layer_codes.empty() ? cache_type_name(cache.config().codec) : "plan";
}

void check_sampling(const engine::SamplingConfig& config) {
  try {
    engine::Sampler sampler(config);
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

// With --memory a prompt is read in chunks: what a pass takes grows with its rows.
GenerateOptions within_memory(LoadedModel& loaded, const engine::CacheType& cache, Device device, GenerateOptions options) {
  if (loaded.memory == 0) return options;
  if (device != Device::cpu())
    throw Usage("--memory: found --device " + device_name(device) + ", wanted cpu: it counts the host's");
  if (options.chunk == 0) options.chunk = kMemoryChunk;
  const MemoryBudget budget =
      measure_memory(loaded, cache, loaded.memory, {.rows = options.chunk, .arithmetic = options.arithmetic});
  loaded.context = context_within(loaded, cache, budget, loaded.context);
  return options;
}

}  // namespace

engine::Generator make_generator(LoadedModel& loaded, const engine::CacheType& cache, Device device, const GenerateOptions& asked,
                                 const std::optional<CacheFile>& saved) {
  check_sampling(asked.sampling);
  if (!saved) warn_of_other_model(loaded, cache);
  const GenerateOptions options = within_memory(loaded, cache, device, asked);
  loaded.model.prepare(options.arithmetic, loaded.threads);
  const engine::GenerateConfig config{.sampling = options.sampling,
                                      .codec = cache.codec,
                                      .layer_codes = cache.layer_codes,
                                      .context = loaded.context,
                                      .max_tokens = options.max_tokens,
                                      .arithmetic = options.arithmetic,
                                      .device = device,
                                      .chunk = options.chunk};
  if (saved) return {loaded.model, loaded.tokenizer, loaded.threads, config, *saved};
  return {loaded.model, loaded.tokenizer, loaded.threads, config};
}

engine::Turn continue_text(engine::Generator& generator, std::span<const engine::Token> prompt,
                           const std::function<void(std::string_view)>& print, const engine::SpecialCallback& print_special) {
  if (std::ssize(prompt) >= generator.context()) {
    throw Error(ErrorKind::invalid_argument, "[generate] the prompt has " + std::to_string(prompt.size()) +
                                                 " tokens, wanted at most " + std::to_string(generator.context() - 1) +
                                                 " (--ctx-size)");
  }
  Progress bar("prompt");
  const auto on_text = [&](std::string_view text) {
    check_interrupt();
    bar.clear();
    if (!text.empty()) print(text);
  };
  const auto on_prompt = [&](std::int64_t done, std::int64_t total) {
    check_interrupt();
    bar.update(done, total);
  };
  engine::SpecialCallback on_special;
  if (print_special) {
    on_special = [&](std::string_view written) {
      bar.clear();
      print_special(written);
    };
  }
  engine::Turn turn = generator.continue_text(prompt, on_text, on_prompt, on_special);
  if (turn.finish == engine::Finish::context) {
    spdlog::warn("the context of {} tokens is full: the answer ends there (-c takes more)", generator.context());
  }
  return turn;
}

engine::ChatTemplate chat_template(const LoadedModel& loaded, const std::string& name) {
  const auto& data = loaded.tokenizer.data();
  if (name == "auto") {
    if (data.chat_template.empty() && data.tool_template.empty()) {
      spdlog::warn(
          "{} has no chat template, its prompts are written as ChatML; --chat-template takes another, by name or as a file",
          loaded.model.config().name);
    }
    return engine::ChatTemplate::from_model(data);
  }
  if (const std::string_view named = engine::named_template(name); !named.empty()) return {named, data};
  if (!std::filesystem::exists(name)) {
    throw Usage("[options] found --chat-template " + name + ", wanted auto, " + engine::template_names() + ", or a file");
  }
  return {read_text(name), data};
}

engine::ChatOptions chat_options(const TemplateOptions& options) {
  engine::ChatOptions chat;
  if (options.variables.empty()) return chat;
  try {
    chat.variables = engine::parse_json(options.variables);
  } catch (const nlohmann::json::exception& error) {
    throw Usage(std::string("[options] --chat-template-kwargs: ") + error.what());
  } catch (const Error& error) {
    throw Usage(std::string("[options] --chat-template-kwargs: ") + error.what());
  }
  if (!chat.variables.is_object()) {
    throw Usage(std::string("[options] --chat-template-kwargs: found JSON of type ") + chat.variables.type_name() +
                ", wanted an object");
  }
  return chat;
}

nlohmann::ordered_json turn_json(const Turn& turn) {
  return {{"text", turn.text},
          {"finish", engine::finish_name(turn.finish)},
          {"cached_tokens", turn.cached_tokens},
          {"prompt_tokens", turn.prompt_tokens},
          {"tokens", turn.tokens},
          {"prompt_seconds", turn.prompt_seconds},
          {"prompt_tokens_per_second", per_second(turn.prompt_tokens, turn.prompt_seconds)},
          {"decode_seconds", turn.decode_seconds},
          {"decode_tokens_per_second", decode_speed(turn)},
          {"peak_scratch_bytes", turn.peak_scratch_bytes}};
}

nlohmann::ordered_json cache_json(const KvCache& cache) {
  const MemoryReport report = cache.memory_report();
  nlohmann::ordered_json json = {{"cache", cache_name(cache)},
                                 {"bits", report.bits(cache.config())},
                                 {"bits_sealed", cache.bits_sealed()},
                                 {"cache_mb", static_cast<double>(report.total()) / 1e6}};
  if (report.windowed.num_layers > 0) {
    json["full_layers_mb"] = static_cast<double>(report.full.total()) / 1e6;
    json["windowed_layers_mb"] = static_cast<double>(report.windowed.total()) / 1e6;
  }
  if (report.recurrent > 0) json["recurrent_mb"] = static_cast<double>(report.recurrent) / 1e6;
  return json;
}

void log_turn(const Turn& turn, const KvCache& cache) {
  spdlog::info("prompt: {} tokens in {:.2f} s ({:.1f} tokens/s), {} more in the cache", turn.prompt_tokens, turn.prompt_seconds,
               per_second(turn.prompt_tokens, turn.prompt_seconds), turn.cached_tokens);
  spdlog::info("answer: {} tokens at {:.1f} tokens/s; cache {}: {:.2f} MB, {:.2f} bits; scratch at most {:.2f} MB", turn.tokens,
               decode_speed(turn), cache_name(cache), cache_megabytes(cache), cache.bits(),
               static_cast<double>(turn.peak_scratch_bytes) / 1e6);
}

}  // namespace qjl::cli
