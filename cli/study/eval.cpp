// `qjl eval`: what a compressed cache costs in quality, on a text: KL divergence and perplexity against the exact cache.
//
// One pass over the text serves every cache type of the list; study/eval.hpp has the protocol. With --decode N the speed of
// one-token steps is measured too, at the depth of the whole context.
#include "eval.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "cache_list.hpp"
#include "decode_speed.hpp"
#include "files.hpp"
#include "interrupt.hpp"
#include "loaded_model.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "quality_json.hpp"
#include "ranges.hpp"
#include "rival.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  ModelOptions model;
  OutputOptions output;
  std::string file;
  std::vector<std::string> caches = {"k2v2", "k3v2", "k3v3", "k4v4"};
  std::optional<std::int64_t> prompt = {};
  engine::Arithmetic arithmetic = engine::Arithmetic::exact;
  std::int64_t decode_steps = 0;
};

struct Row {
  engine::EvalResult quality;
  double decode_tokens_per_second = 0;  // 0: not measured
};

Json row_json(const Row& row) {
  Json json = quality_json(row.quality);
  if (row.decode_tokens_per_second > 0) json["decode_tokens_per_second"] = row.decode_tokens_per_second;
  return json;
}

std::string report_json(const std::vector<Row>& rows, const engine::EvalReport& report, std::int64_t context) {
  Json json = {{"context", context}, {"results", Json::array()}};
  for (const auto& row : rows) json["results"].push_back(row_json(row));
  json["floor_kld"] = report.floor_kld;
  json["peak_scratch_bytes"] = report.peak_scratch_bytes;
  return json_text(json);
}

std::string table_row(const Row& row, double exact_megabytes) {
  const auto& r = row.quality;
  const double ppl_change = 100.0 * (r.ppl / r.ppl_exact - 1.0);
  std::string line = fmt::format(
      "{:<14} {:>5.2f} {:>6.2f} {:>8.2f} {:>5.1f}x  {:>8.5f} +- {:<7.5f} {:>8.5f} {:>8.4f}  {:>5.1f} % {:>8.3f} {:>+7.2f} %",
      r.cache, r.bits, r.bits_sealed, r.cache_mb, exact_megabytes / r.cache_mb, r.kld_mean, r.kld_se, r.kld_median, r.kld_p999,
      100.0 * r.same_top1, r.ppl, ppl_change);
  if (row.decode_tokens_per_second > 0) line += fmt::format(" {:>7.1f}", row.decode_tokens_per_second);
  if (r.simulated) line += "  simulated";
  return line + "\n";
}

std::string report_table(const std::vector<Row>& rows, const engine::EvalReport& report, double exact_megabytes) {
  const bool timed = !rows.empty() && rows.front().decode_tokens_per_second > 0;
  std::string text =
      fmt::format("{:<14} {:>5} {:>6} {:>8} {:>6}  {:>19} {:>8} {:>8}  {:>7} {:>8} {:>9}{}\n", "cache", "bits", "sealed", "MB",
                  "ratio", "KL divergence", "median", "99.9 %", "top-1", "ppl", "change", timed ? "   tok/s" : "");
  for (const auto& row : rows) text += table_row(row, exact_megabytes);
  text += fmt::format(
      "floor: KL divergence {:.1e} of the exact cache read in other chunks; {} positions; exact perplexity {:.3f}\n",
      report.floor_kld, rows.empty() ? 0 : rows.front().quality.positions, rows.empty() ? 0.0 : rows.front().quality.ppl_exact);
  return text;
}

// What the exact cache holds for as many tokens: 16 bits a number.
double exact_megabytes(const engine::ModelConfig& config, std::int64_t tokens) {
  return 2.0 * 2.0 * static_cast<double>(tokens) * config.num_cached_layers() * config.num_kv_heads * config.head_dim / 1e6;
}

std::vector<Row> evaluate_rows(LoadedModel& loaded, const EvalOptions& options, engine::EvalReport& report) {
  const auto tokens = text_tokens(loaded.tokenizer, read_text(options.file));
  const engine::EvalConfig config{
      .context = loaded.context, .prompt = options.prompt, .caches = options.caches, .arithmetic = options.arithmetic};
  {
    Progress bar("eval");
    report = engine::evaluate(loaded.model, tokens, config, loaded.threads, [&](std::int64_t done, std::int64_t total) {
      check_interrupt();
      bar.update(done, total);
    });
  }
  std::vector<Row> rows;
  for (const auto& result : report.results) rows.push_back({.quality = result});
  if (options.decode_steps == 0) return rows;
  Progress bar("decode");
  const engine::DecodeSpeedConfig speed{.context = loaded.context, .steps = options.decode_steps, .caches = options.caches};
  const auto speeds = engine::decode_speed(loaded.model, tokens, speed, loaded.threads, [&](std::int64_t done, std::int64_t total) {
    check_interrupt();
    bar.update(done, total);
  });
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].decode_tokens_per_second = speeds[i];
  return rows;
}

Exit run_eval(EvalOptions options) {
  options.caches = cache_list(options.caches);
  if (options.decode_steps > 0 && std::any_of(options.caches.begin(), options.caches.end(), engine::is_rival))
    throw Usage("[eval] found --decode with a simulated cache, wanted caches of the library: a simulation has no speed");
  check_output(options.output.file);
  LoadedModel loaded(options.model);
  for (const auto& type : options.caches) {
    if (engine::is_plan(type)) warn_of_other_model(loaded, cache_type(type));
  }
  engine::EvalReport report;
  const auto rows = evaluate_rows(loaded, options, report);
  write_result(options.output.file, options.output.json
                                        ? report_json(rows, report, loaded.context)
                                        : report_table(rows, report, exact_megabytes(loaded.model.config(), loaded.context)));
  return Exit::ok;
}

}  // namespace

Verb add_eval(CLI::App& program) {
  auto options = std::make_shared<EvalOptions>();
  auto* command = program.add_subcommand("eval", "score cache types on a text against the exact cache");
  add_model_options(*command, options->model);
  command->add_option("-f,--file", options->file, "text file, - for standard input")->required()->group("Text");
  command->add_option("--prompt", options->prompt, "tokens processed exactly before scoring starts (default: 3/4 of -c)")
      ->transform(whole(0))
      ->group("Text");
  command
      ->add_option("--cache", options->caches,
                   "cache types, comma between them (default k2v2,k3v2,k3v3,k4v4);\n"
                   "simulated rivals: " +
                       engine::rival_names())
      ->delimiter(',')
      ->group("Cache");
  command->add_option("--decode", options->decode_steps, "also time this many one-token steps per cache, after -c tokens")
      ->transform(whole(1))
      ->group("Cache");
  add_arithmetic_option(*command, options->arithmetic);
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_eval(*options);
          }};
}

}  // namespace qjl::cli
