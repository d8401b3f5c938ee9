// `qjl inspect`: what the keys and values of a model look like on a text, per layer and kv head, and what each cache type does to
// them: channel magnitudes before and after RoPE, the share of the mean, outlier ratios, errors. JSON; `./dev inspect` draws it.
#include <fmt/format.h>

#include "distortion.hpp"
#include "files.hpp"
#include "inspect.hpp"
#include "interrupt.hpp"
#include "progress.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "result_rows.hpp"
#include "study.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kSinks = 4;

struct InspectOptions : StudyOptions {
  OutputOptions output;
  std::string file;
};

Json channels_json(const engine::CapturedRows& rows, std::int64_t head) {
  const auto statistics = engine::channel_statistics(rows, head, kSinks);
  return {{"outlier_ratio", short_number(statistics.outlier_ratio)},
          {"mean_share", short_number(statistics.mean_share)},
          {"page_mean_share", short_number(statistics.page_mean_share)},
          {"magnitude", short_numbers(statistics.magnitude)}};
}

Json layer_json(const engine::ModelConfig& model, const engine::CapturedLayer& layer, std::vector<engine::TrialCache>& trials,
                ThreadPool& threads) {
  const auto before = engine::keys_before_rope(model.cached_layer(layer.layer).rope, layer.keys);
  Json heads = Json::array();
  for (std::int64_t head = 0; head < layer.keys.heads; ++head) {
    heads.push_back({{"keys_before_rope", channels_json(before, head)},
                     {"keys", channels_json(layer.keys, head)},
                     {"values", channels_json(layer.values, head)},
                     {"errors", Json::object()}});
  }
  for (auto& trial : trials) {
    const auto errors = engine::compare_heads(trial, layer, kSinks, threads);
    for (std::size_t head = 0; head < errors.size(); ++head) {
      heads[head]["errors"][trial.name()] = {{"key_error", short_number(errors[head].key_error)},
                                             {"value_error", short_number(errors[head].value_error)},
                                             {"score_error", short_number(errors[head].score_error)},
                                             {"output_error", short_number(errors[head].output_error)}};
    }
  }
  return {{"layer", layer.layer}, {"heads", heads}};
}

// One line per layer: means over its kv heads.
std::string layers_table(const Json& json) {
  const auto mean = [](const Json& heads, const auto& read) {
    double sum = 0;
    for (const Json& head : heads) sum += read(head);
    return sum / static_cast<double>(heads.size());
  };
  std::string text = fmt::format("{:<6} {:>29} {:>29} {:>29}\n{:<6}", "", "keys before RoPE", "keys", "values", "layer");
  for (int i = 0; i < 3; ++i) text += fmt::format(" {:>9} {:>9} {:>9}", "outliers", "mean", "of pages");
  const auto names = json["caches"].get<std::vector<std::string>>();
  for (const auto& name : names) text += fmt::format(" {:>9}", name);
  text += "\n";
  for (const Json& layer : json["layers"]) {
    text += fmt::format("{:<6}", layer["layer"].get<int>());
    for (const char* side : {"keys_before_rope", "keys", "values"}) {
      for (const char* field : {"outlier_ratio", "mean_share", "page_mean_share"}) {
        text += fmt::format(" {:>9.3f}", mean(layer["heads"], [&](const Json& h) { return h[side][field].get<double>(); }));
      }
    }
    for (const auto& name : names) {
      text += fmt::format(" {:>9.4f}",
                          mean(layer["heads"], [&](const Json& h) { return h["errors"][name]["score_error"].get<double>(); }));
    }
    text += "\n";
  }
  return text + "outliers: largest over median channel magnitude; mean: its share of the energy; last columns: score errors\n";
}

Exit run_inspect(const InspectOptions& options) {
  check_output(options.output.file);
  LoadedModel loaded(options.model);
  const StudyCaches caches(loaded, options);
  auto tokens = text_tokens(loaded.tokenizer, read_text(options.file));
  const std::int64_t wanted = options.model.context > 0 ? options.model.context : 2048;
  tokens.resize(static_cast<std::size_t>(std::min(wanted, std::ssize(tokens)) / kTokensPerPage * kTokensPerPage));
  if (tokens.empty()) throw Error(ErrorKind::invalid_argument, "[inspect] the text has less than 128 tokens, wanted a page");
  std::vector<engine::TrialCache> trials;
  for (const auto& name : caches.names()) trials.push_back(caches.make(name, std::ssize(tokens)));
  Json json = {{"model", model_name(loaded)}, {"tokens", tokens.size()}, {"caches", caches.names()}, {"layers", Json::array()}};
  {
    Progress bar("inspect");
    engine::capture(loaded.model, tokens, kErrorQueries, loaded.threads, [&](const engine::CapturedLayer& layer) {
      check_interrupt();
      json["layers"].push_back(layer_json(loaded.model.config(), layer, trials, loaded.threads));
      bar.update(layer.layer + 1, loaded.model.config().num_cached_layers());
    });
  }
  write_result(options.output.file, options.output.json ? json_line(json) + "\n" : layers_table(json));
  return Exit::ok;
}

}  // namespace

Verb add_inspect(CLI::App& program) {
  auto options = std::make_shared<InspectOptions>();
  options->caches = {"k2v2", "k3v3", "k4v4"};
  auto* command = program.add_subcommand("inspect", "show the keys and values of a model on a text, channel by channel");
  add_model_options(*command, options->model);
  command->add_option("-f,--file", options->file, "text file, - for standard input")->required()->group("Text");
  command->add_option("--cache", options->caches, "cache types whose errors are shown (default k2v2,k3v3,k4v4)")
      ->delimiter(',')
      ->group("Cache");
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_inspect(*options);
          }};
}

}  // namespace qjl::cli
