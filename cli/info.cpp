// `qjl info`: what this program runs on, what a model is, and what each cache type would cost for it at a context length.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "cache_size.hpp"
#include "files.hpp"
#include "generate.hpp"
#include "loaded_model.hpp"
#include "memory_budget.hpp"
#include "options.hpp"
#include "qjl/codec.hpp"
#include "qjl/device.hpp"
#include "qjl/simd.hpp"
#include "terminal_text.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCacheTypes[] = {"f16",  "k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "k5v4", "k5v5",
                                       "k6v5", "k6v6", "t2v2", "t3v2", "t3v3", "t4v4", "paper"};

struct InfoOptions {
  ModelOptions model;
  OutputOptions output;
};

// Megabytes of a cache of `tokens` tokens; where layers forget, of full and windowed layers apart too, and of one that kept all.
Json cache_row(const KvCache& cache, std::int64_t tokens) {
  const CacheSize size = cache_size(cache, tokens);
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  Json row = {{"bits_sealed", cache.bits_sealed()}, {"cache_mb", megabytes(size.full + size.windowed)}};
  if (size.windowed > 0) {
    row.update({{"full_layers_mb", megabytes(size.full)},
                {"windowed_layers_mb", megabytes(size.windowed)},
                {"all_kept_mb", megabytes(size.all_kept)}});
  }
  return row;
}

Json program_json() {
  Json targets = Json::array();
  for (const auto target : simd_targets()) targets.push_back(simd_target_name(target));
  const CudaDevices cuda = cuda_devices();
  Json devices = Json::array();
  for (const CudaDevice& device : cuda.devices) {
    devices.push_back({{"index", device.index},
                       {"name", device.name},
                       {"compute_capability", fmt::format("{}.{}", device.major, device.minor)},
                       {"multiprocessors", device.multiprocessors},
                       {"memory_mb", static_cast<double>(device.memory_bytes) / 1e6}});
  }
  return {{"version", QJL_VERSION},
          {"simd_target", simd_target_name(simd_target())},
          {"simd_targets", targets},
          {"cuda_devices", devices},
          {"cuda_absence", cuda.absence}};
}

// What only some models have.
void add_parts(const engine::ModelConfig& c, Json& json) {
  if (c.experts.count > 0) json.update({{"experts", c.experts.count}, {"experts_used", c.experts.used}});
  if (c.key_dim != c.head_dim || c.value_dim != c.head_dim) json.update({{"key_dim", c.key_dim}, {"value_dim", c.value_dim}});
  const auto has_window = [](const engine::LayerShape& layer) { return layer.window > 0; };
  const auto first = std::ranges::find_if(c.layers, has_window);
  if (first == c.layers.end()) return;
  json.update({{"window", first->window}, {"layers_with_window", std::ranges::count_if(c.layers, has_window)}});
}

// Layers without keys, and the bytes that a sequence keeps of them whatever its length.
void add_state(const engine::ModelConfig& c, Json& json) {
  if (c.recurrent_numbers() == 0) return;
  json.update({{"layers_with_cache", c.num_cached_layers()},
               {"layers_with_state", c.num_layers - c.num_cached_layers()},
               {"state_mb", static_cast<double>(c.recurrent_numbers()) * sizeof(float) / 1e6}});
}

// One number, or a list where layers differ.
Json feed_forward_json(const engine::ModelConfig& c) {
  Json widths = Json::array();
  for (const engine::LayerShape& layer : c.layers) widths.push_back(layer.feed_forward);
  return std::ranges::all_of(widths, [&](const Json& width) { return width == widths.front(); }) ? widths.front() : widths;
}

Json model_json(const LoadedModel& loaded) {
  const auto& c = loaded.model.config();
  Json json = {{"name", c.name},
               {"architecture", c.family->name},
               {"layers", c.num_layers},
               {"heads", c.num_heads},
               {"kv_heads", c.num_kv_heads},
               {"head_dim", c.head_dim},
               {"hidden", c.hidden},
               {"feed_forward", feed_forward_json(c)},
               {"vocab_size", c.vocab_size},
               {"context_length", c.context_length},
               {"weight_mb", static_cast<double>(loaded.model.weight_bytes()) / 1e6}};
  add_parts(c, json);
  add_state(c, json);
  return json;
}

Json budget_json(const MemoryBudget& budget) {
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  return {{"total_mb", megabytes(budget.total)},
          {"weights_mb", megabytes(budget.weights)},
          {"program_mb", megabytes(budget.program)},
          {"scratch_mb", megabytes(budget.scratch)},
          {"cache_mb", megabytes(budget.cache())}};
}

// With a budget, the context that it gives each type, too.
Json caches_json(const LoadedModel& loaded, const std::optional<MemoryBudget>& budget) {
  Json caches = Json::array();
  for (const char* type : kCacheTypes) {
    const CacheConfig config = engine::forgetting(loaded.model.cache_config(codec_config(type), loaded.context));
    if (!takes_width(config.codec, config.head_dim)) continue;
    const KvCache cache(config);
    Json& row = caches.emplace_back(Json{{"cache", type}});
    row.update(cache_row(cache, loaded.context));
    if (budget)
      row["context_within_memory"] = tokens_within(cache, budget->cache() - cache.memory_report().total(), loaded.context);
  }
  return caches;
}

std::string joined(const Json& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  return text;
}

std::string info_text(const Json& json) {
  std::string text = fmt::format("qjl {}, kernels {} (of {})\n", json["version"].get<std::string>(),
                                 json["simd_target"].get<std::string>(), joined(json["simd_targets"]));
  if (json["cuda_devices"].empty()) text += fmt::format("cuda: none ({})\n", json["cuda_absence"].get<std::string>());
  for (const auto& device : json["cuda_devices"]) {
    text += fmt::format("cuda:{} {}, compute capability {}, {} multiprocessors, {:.0f} MB\n", device["index"].get<int>(),
                        device["name"].get<std::string>(), device["compute_capability"].get<std::string>(),
                        device["multiprocessors"].get<int>(), device["memory_mb"].get<double>());
  }
  if (!json.contains("model")) return text;
  for (const auto& [key, value] : json["model"].items()) {
    text += fmt::format("  {:<20}{}\n", key, value.is_string() ? one_line(value.get<std::string>()) : json_line(value));
  }
  if (json.contains("memory")) {
    text += fmt::format("\nmemory\n");
    for (const auto& [key, value] : json["memory"].items()) text += fmt::format("  {:<20}{:.1f}\n", key, value.get<double>());
  }
  const bool forgets = json["caches"][0].contains("windowed_layers_mb");
  text += fmt::format("\ncache at {} tokens\n  {:<8}{:>12}{:>10}{:>8}{}\n", json["context"].get<std::int64_t>(), "type",
                      "bits sealed", "MB", "ratio",
                      std::string(json.contains("memory") ? "  context in --memory" : "") +
                          (forgets ? "  full layers MB  windowed layers MB  all kept MB" : ""));
  const double exact = json["caches"][0]["cache_mb"];
  for (const auto& row : json["caches"]) {
    text += fmt::format("  {:<8}{:>12.2f}{:>10.2f}{:>7.1f}x", row["cache"].get<std::string>(), row["bits_sealed"].get<double>(),
                        row["cache_mb"].get<double>(), exact / row["cache_mb"].get<double>());
    if (row.contains("context_within_memory")) text += fmt::format("{:>21}", row["context_within_memory"].get<std::int64_t>());
    if (forgets)
      text += fmt::format("{:>16.2f}{:>20.2f}{:>13.2f}", row["full_layers_mb"].get<double>(),
                          row["windowed_layers_mb"].get<double>(), row["all_kept_mb"].get<double>());
    text += "\n";
  }
  return text;
}

Exit run_info(const InfoOptions& options) {
  check_output(options.output.file);
  Json json = program_json();
  if (!options.model.path.empty()) {
    LoadedModel loaded(options.model);
    json["model"] = model_json(loaded);
    json["context"] = loaded.context;
    std::optional<MemoryBudget> budget;
    if (loaded.memory > 0) {
      budget = measure_memory(loaded, engine::read_cache_type("k3v2"), loaded.memory, {.rows = kMemoryChunk});
      json["memory"] = budget_json(*budget);
    }
    json["caches"] = caches_json(loaded, budget);
  }
  write_result(options.output.file, options.output.json ? json_text(json) : info_text(json));
  return Exit::ok;
}

}  // namespace

Verb add_info(CLI::App& program) {
  auto options = std::make_shared<InfoOptions>();
  auto* command = program.add_subcommand("info", "describe this program, a model, and its cache sizes");
  add_model_options(*command, options->model);
  add_memory_option(*command, options->model);
  command->get_option("--model")->required(false);
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_info(*options);
          }};
}

}  // namespace qjl::cli
