// `qjl plan`: how many bits, and where.
//
//   --eps E --delta D     signs that a Gaussian sketch needs for |error| <= E |q| |k| with probability 1 - D; failures counted
//   -m MODEL --budget B   codes of every layer for B bits a number (or B as 1.5GB for a whole cache of -c tokens), by
//                         damages measured on the texts -f (study/plan_costs.hpp), with the forecast KL divergence
//   --check TEXT          the measured one on texts that the plan has not seen
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cache_list.hpp"
#include "eval.hpp"
#include "files.hpp"
#include "interrupt.hpp"
#include "loaded_model.hpp"
#include "options.hpp"
#include "plan_costs.hpp"
#include "plan_file.hpp"
#include "plan_search.hpp"
#include "progress.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "ranges.hpp"
#include "sketch_bound.hpp"
#include "sketch_trial.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct PlanOptions {
  ModelOptions model;
  OutputOptions output;
  double eps = 0, delta = 0;
  int dim = 128, sketches = 40;
  std::string budget, plan_file, costs_file;
  std::vector<std::string> files, checks;
  std::vector<std::string> compared = {"k2v2", "k3v2", "k3v3"};
  engine::CostConfig costs;
  std::int64_t check_context = 3584, check_positions = 512;
  int batch = 1;
  bool for_gpus = false;
};

// ---- signs of a sketch --------------------------------------------------------------------------------------------------------

engine::SketchBound find_bound(const PlanOptions& options) {
  if (options.eps <= 0 || options.delta <= 0) throw Usage("[plan] found --eps or --delta alone, wanted both, each between 0 and 1");
  try {
    return engine::sketch_bound(options.eps, options.delta);
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

Json sketch_report(const PlanOptions& options) {
  const engine::SketchBound bound = find_bound(options);
  Json report = {{"eps", options.eps}, {"delta", options.delta}, {"rows", bound.rows}, {"published_rows", bound.published_rows}};
  ThreadPool threads(options.model.threads);
  for (const auto& [name, wanted] : {std::pair{"trial", bound.rows}, std::pair{"published_trial", bound.published_rows}}) {
    const std::int64_t rows = (wanted + 7) / 8 * 8;
    if (rows > 1 << 14) continue;  // more than a sketch may have
    const auto found = engine::try_sketch(static_cast<int>(rows), options.dim, options.eps, options.sketches, threads);
    report[name] = {{"rows", rows},         {"head_dim", options.dim},    {"trials", found.trials},    {"failures", found.failures},
                    {"share", found.share}, {"share_se", found.share_se}, {"variance", found.variance}};
  }
  return report;
}

std::string sketch_text(const Json& report) {
  std::string text = fmt::format(
      "|error| <= {} |q| |k| with probability 1 - {}:\n  {} signs of a Gaussian sketch suffice; the published bound says {}\n",
      report["eps"].get<double>(), report["delta"].get<double>(), report["rows"].get<std::int64_t>(),
      report["published_rows"].get<std::int64_t>());
  for (const char* name : {"trial", "published_trial"}) {
    if (!report.contains(name)) continue;
    const Json& trial = report[name];
    text += fmt::format("  {:>6} signs: {} of {} random pairs err by more, {:.2e} +- {:.1e}; m Var / (|q|^2 |k|^2) = {:.3f}\n",
                        trial["rows"].get<int>(), trial["failures"].get<std::int64_t>(), trial["trials"].get<std::int64_t>(),
                        trial["share"].get<double>(), trial["share_se"].get<double>(), trial["variance"].get<double>());
  }
  return text;
}

// ---- codes for a budget ---------------------------------------------------------------------------------------------------------

constexpr double kMostBits = 32, kMostBytes = 1e18;  // far beyond any cache, and whole numbers hold them

struct Budget {
  double bits = 0;
  std::int64_t bytes = 0;  // 0: bits count
};

Budget read_budget(const std::string& text) {
  std::size_t used = 0;
  double number = 0;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  const double bytes = number * (unit == "GB" ? 1e9 : 1e6);
  const bool is_bits = unit.empty() && number > 0 && number <= kMostBits;
  const bool is_size = (unit == "GB" || unit == "MB") && bytes >= 1 && bytes <= kMostBytes;
  if (used == 0 || !(is_bits || is_size))
    throw Usage("[plan] found budget `" + text + "`, wanted bits a number such as 2.7, or a size such as 1.5GB or 300MB");
  if (is_bits) return {.bits = number};
  return {.bytes = static_cast<std::int64_t>(bytes)};
}

engine::PlanCosts find_costs(LoadedModel& loaded, const PlanOptions& options) {
  if (!options.costs_file.empty() && std::filesystem::exists(options.costs_file)) {
    auto costs = engine::read_costs(read_text(options.costs_file), options.costs_file);
    if (costs.fingerprint != engine::model_fingerprint(loaded.model))
      throw Usage("[plan] `" + options.costs_file + "` was measured on another model, " + costs.model);
    return costs;
  }
  if (options.files.empty()) throw Usage("[plan] found no text, wanted -f FILE to measure on, or --costs FILE of an earlier run");
  std::vector<engine::CostText> texts;
  for (const auto& file : options.files)
    texts.push_back({std::filesystem::path(file).filename().string(), text_tokens(loaded.tokenizer, read_text(file))});
  Progress bar("costs");
  auto costs =
      engine::measure_costs(loaded.model, texts, options.costs, loaded.threads, [&](std::int64_t done, std::int64_t total) {
        check_interrupt();
        bar.update(done, total);
      });
  if (!options.costs_file.empty()) write_result(options.costs_file, engine::costs_json(costs));
  return costs;
}

// The damages to choose from: of every code, or of those that GPUs have.
std::vector<engine::LayerDamages> usable_damages(const engine::PlanCosts& costs, const PlanOptions& options) {
  std::vector<engine::LayerDamages> layers = costs.layers;
  for (engine::LayerDamages& layer : layers) {
    for (auto* side : {&layer.keys, &layer.values}) {
      std::erase_if(*side, [&](const engine::CodeDamage& damage) { return options.for_gpus && !is_on_gpus(damage.code); });
    }
  }
  return layers;
}

engine::Plan make_plan(const LoadedModel& loaded, const engine::PlanCosts& costs, const PlanOptions& options) {
  const Budget budget = read_budget(options.budget);
  const auto& model = loaded.model.config();
  engine::Plan plan{.model = model.name,
                    .fingerprint = engine::model_fingerprint(loaded.model),
                    .num_kv_heads = model.num_kv_heads,
                    .head_dim = model.head_dim,
                    .texts = costs.texts};
  const auto layers = usable_damages(costs, options);
  if (std::ssize(layers) != model.num_cached_layers()) throw Usage("[plan] the costs are of a model with other layers");
  const double page_bits = 8.0 / (2.0 * kTokensPerPage * model.head_dim * model.num_cached_layers());
  plan.layer_codes =
      budget.bytes > 0
          ? engine::choose_codes(layers, loaded.model, {.bytes = budget.bytes, .context = loaded.context, .batch = options.batch})
          : engine::choose_codes(layers, model.head_dim, static_cast<std::int64_t>(std::floor(budget.bits / page_bits)));
  plan.bits_sealed = engine::bits_sealed(model.head_dim, plan.layer_codes);
  plan.budget_bits = budget.bytes > 0 ? plan.bits_sealed : budget.bits;
  plan.forecast_kld = engine::forecast(layers, plan.layer_codes);
  return plan;
}

struct CheckText {
  std::string name;
  std::vector<engine::Token> tokens;
};

// The texts of --check, read once: one may be a pipe. Known to be long enough before hours of measuring.
std::vector<CheckText> read_checks(const LoadedModel& loaded, const PlanOptions& options) {
  std::vector<CheckText> texts;
  for (const auto& file : options.checks) {
    texts.push_back({std::filesystem::path(file).filename().string(), text_tokens(loaded.tokenizer, read_text(file))});
    if (const std::int64_t count = std::ssize(texts.back().tokens); count < options.check_context) {
      throw Error(ErrorKind::invalid_argument, fmt::format("[plan] found {} tokens in `{}`, wanted at least {} (--check-context)",
                                                           count, file, options.check_context));
    }
  }
  return texts;
}

// The plan beside uniform types on texts that it has not seen.
Json check_plan(LoadedModel& loaded, const engine::Plan& plan, const std::vector<CheckText>& texts, const PlanOptions& options) {
  Json checks = Json::array();
  for (const auto& [name, tokens] : texts) {
    engine::EvalConfig eval{
        .context = options.check_context, .prompt = options.check_context - options.check_positions, .caches = options.compared};
    engine::EvalCache& cache = eval.made_caches.emplace_back("plan", loaded.model.cache_config({}, options.check_context));
    cache.config.codec.seed = plan.seed;
    cache.config.codec.sink_tokens = plan.sink_tokens;
    cache.config.layer_codes = plan.layer_codes;
    Progress bar(name);
    const auto report = engine::evaluate(loaded.model, tokens, eval, loaded.threads, [&](std::int64_t done, std::int64_t total) {
      check_interrupt();
      bar.update(done, total);
    });
    for (const auto& result : report.results) {
      checks.push_back({{"text", name},
                        {"cache", result.cache},
                        {"bits_sealed", result.bits_sealed},
                        {"kld_mean", result.kld_mean},
                        {"kld_se", result.kld_se},
                        {"same_top1", result.same_top1}});
    }
  }
  return checks;
}

std::string check_table(const Json& checks, const PlanOptions& options) {
  if (checks.empty()) return {};
  std::string text = fmt::format("{:<8} {:>7} {:>12}", "cache", "sealed", "mean KLD");
  for (const auto& file : options.checks) text += fmt::format(" {:>12}", std::filesystem::path(file).stem().string().substr(0, 12));
  text += "\n";
  auto names = options.compared;
  names.push_back("plan");
  for (const auto& name : names) {
    double sum = 0, bits = 0;
    std::string cells;
    for (const Json& check : checks) {
      if (check["cache"] != name) continue;
      const double kld = check["kld_mean"];
      bits = check["bits_sealed"];
      sum += kld;
      cells += fmt::format(" {:>12.5f}", kld);
    }
    text += fmt::format("{:<8} {:>7.3f} {:>12.5f}{}\n", name, bits, sum / static_cast<double>(options.checks.size()), cells);
  }
  return text;
}

std::string plan_text(const engine::Plan& plan, const engine::PlanCosts& costs) {
  std::string text = fmt::format("{:>5}  {:<6} {:<6} {:>12} {:>12}\n", "layer", "keys", "values", "keys alone", "values alone");
  for (std::size_t l = 0; l < plan.layer_codes.size(); ++l) {
    const auto& [key, value] = plan.layer_codes[l];
    text += fmt::format("{:>5}  {:<6} {:<6} {:>12.2e} {:>12.2e}\n", l, code_name(key), code_name(value), costs.key_singles[l],
                        costs.value_singles[l]);
  }
  return text + fmt::format("{:.3f} bits a number of {:.3f}; forecast KL divergence {:.5f} ({} tokens, {} scored, a text)\n",
                            plan.bits_sealed, plan.budget_bits, plan.forecast_kld, costs.context, costs.positions);
}

// Scored tokens are the last of a text's.
void check_positions(const char* name, std::int64_t positions, const char* context_name, std::int64_t context) {
  if (positions <= context) return;
  throw Usage(fmt::format("[plan] found {} {}, wanted at most {}, {}", name, positions, context_name, context));
}

// All that can be known to be wrong before a model is read.
void check_budget_options(const PlanOptions& options) {
  read_budget(options.budget);
  check_positions("--positions", options.costs.positions, "--text-context", options.costs.context);
  check_positions("--check-positions", options.check_positions, "--check-context", options.check_context);
  check_output(options.plan_file);
  std::error_code error;
  if (!std::filesystem::is_regular_file(options.costs_file, error)) check_output(options.costs_file);
}

Exit run_budget(const PlanOptions& options) {
  check_budget_options(options);
  LoadedModel loaded(options.model);
  const auto checked = read_checks(loaded, options);
  const auto costs = find_costs(loaded, options);
  const auto plan = make_plan(loaded, costs, options);
  if (!options.plan_file.empty()) write_result(options.plan_file, engine::plan_json(plan));
  const Json checks = check_plan(loaded, plan, checked, options);
  const Json report = {
      {"plan", Json::parse(engine::plan_json(plan))}, {"costs", Json::parse(engine::costs_json(costs))}, {"checks", checks}};
  write_result(options.output.file,
               options.output.json ? json_text(report) : plan_text(plan, costs) + check_table(checks, options));
  return Exit::ok;
}

Exit run_plan(PlanOptions options) {
  options.compared = cache_list(options.compared);
  check_output(options.output.file);
  const bool sketch = options.eps != 0 || options.delta != 0;
  if (sketch == !options.budget.empty()) throw Usage("[plan] found both or neither of --eps, --delta and --budget, wanted one way");
  if (!sketch) {
    if (options.model.path.empty()) throw Usage("[plan] found --budget without a model, wanted -m FILE");
    return run_budget(options);
  }
  if (options.eps >= 1 || options.delta >= 1) throw Usage("[plan] found --eps or --delta of 1 or more, wanted less");
  const Json report = sketch_report(options);
  write_result(options.output.file, options.output.json ? json_text(report) : sketch_text(report));
  return Exit::ok;
}

}  // namespace

Verb add_plan(CLI::App& program) {
  auto options = std::make_shared<PlanOptions>();
  auto* command = program.add_subcommand("plan", "choose bits: signs for an error bound, or codes of every layer for a budget");
  add_model_options(*command, options->model);
  command->get_option("--model")->required(false);
  command->add_option("--eps", options->eps, "error over |q| |k|")->transform(positive())->group("Sketch");
  command->add_option("--delta", options->delta, "probability of a larger error")->transform(positive())->group("Sketch");
  command->add_option("--dim", options->dim, "head_dim of the count of failures (default 128)")
      ->check(CLI::IsMember({64, 80, 96, 128, 256}))
      ->group("Sketch");
  command->add_option("--sketches", options->sketches, "sketches counted, 8192 pairs each (default 40)")
      ->transform(whole(2, 10000))
      ->group("Sketch");
  command->add_option("--budget", options->budget, "bits a number (2.7), or a size (1.5GB, 300MB) for -c tokens and --batch")
      ->group("Budget");
  command->add_option("--batch", options->batch, "sequences that share a size (default 1)")
      ->transform(whole(1, kMostInt))
      ->group("Budget");
  command->add_flag("--for-gpus", options->for_gpus, "choose among the codes that GPUs have")->group("Budget");
  command->add_option("-f,--file", options->files, "texts to measure damages on")->group("Budget");
  command->add_option("--positions", options->costs.positions, "scored tokens of each text (default 256)")
      ->transform(whole(2, 1 << 20))
      ->group("Budget");
  command->add_option("--text-context", options->costs.context, "tokens of each text (default 2048)")
      ->transform(whole(1))
      ->group("Budget");
  command->add_option("--caches-at-once", options->costs.caches_at_once, "caches in memory at a time (default 20)")
      ->transform(whole(1, kMostInt))
      ->group("Budget");
  command->add_option("--costs", options->costs_file, "damages: read from this file when it exists, else measured and written")
      ->group("Budget");
  command->add_option("--plan", options->plan_file, "write the plan to this file; its path is a cache type")->group("Budget");
  command->add_option("--check", options->checks, "texts to measure the plan on")->group("Check");
  command->add_option("--check-context", options->check_context, "tokens of each (default 3584)")
      ->transform(whole(1))
      ->group("Check");
  command->add_option("--check-positions", options->check_positions, "scored tokens of each (default 512)")
      ->transform(whole(2, 1 << 20))
      ->group("Check");
  command->add_option("--compare", options->compared, "cache types beside it (default k2v2,k3v2,k3v3)")
      ->delimiter(',')
      ->group("Check");
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_plan(*options);
          }};
}

}  // namespace qjl::cli
