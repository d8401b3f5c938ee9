// `qjl study rate`: KL divergence, same top-1 and perplexity of every cache type on every text at every context length.
//
//   a row: (model, text, context, positions, cache) -> the figures of study/eval.hpp, with the version of the cache that made them
//
// The last `positions` tokens of a context are scored, the tokens before them are processed exactly, once for all cache types.
// A text that is shorter than a context but fills three quarters of it is scored at its last whole page; `tokens` has its length.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "interrupt.hpp"
#include "progress.hpp"
#include "qjl/codec.hpp"
#include "quality_json.hpp"
#include "ranges.hpp"
#include "result_rows.hpp"
#include "study.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct RateOptions : StudyOptions {
  std::vector<std::int64_t> contexts = {2048, 4096, 8192};
  std::int64_t positions = 512;
};

// What a text of `tokens` tokens gives to a context: 0 when it is too short.
std::int64_t usable_tokens(std::int64_t context, std::int64_t tokens) {
  if (tokens >= context) return context;
  return 4 * tokens >= 3 * context ? tokens / kTokensPerPage * kTokensPerPage : 0;
}

class RateStudy {
 public:
  RateStudy(const RateOptions& options)
      : options_(options),
        rows_(options.results, {"model", "text", "context", "positions", "cache"}),
        loaded_(options.model),
        caches_(loaded_, options) {}

  void run() {
    for (const std::int64_t context : options_.contexts) {
      if (context <= options_.positions || context > loaded_.model.config().context_length) {
        throw Usage("[study] found context " + std::to_string(context) + ", wanted more than --positions and at most " +
                    std::to_string(loaded_.model.config().context_length) + " (the model's)");
      }
    }
    const auto texts = study_texts(loaded_, options_, *std::max_element(options_.contexts.begin(), options_.contexts.end()));
    for (const std::int64_t context : options_.contexts) {
      for (const StudyText& text : texts) score(text, context);
    }
  }

 private:
  Json key(const StudyText& text, std::int64_t context, const std::string& cache) const {
    return {{"model", model_name(loaded_)},
            {"text", text.name},
            {"context", context},
            {"positions", options_.positions},
            {"cache", cache}};
  }

  void score(const StudyText& text, std::int64_t context) {
    const std::int64_t tokens = usable_tokens(context, std::ssize(text.tokens));
    if (tokens < options_.positions)
      return spdlog::warn("{} has {} tokens: no figure at {}", text.name, text.tokens.size(), context);
    std::vector<std::string> missing;
    for (const auto& cache : caches_.names()) {
      if (caches_.is_missing(cache, rows_.find(key(text, context, cache)))) missing.push_back(cache);
    }
    const auto at_once = static_cast<std::size_t>(options_.caches_at_once);
    for (std::size_t begin = 0; begin < missing.size(); begin += at_once) {
      const auto end = std::min(begin + at_once, missing.size());
      score_batch(text, context, tokens, std::span(missing).subspan(begin, end - begin));
    }
  }

  void score_batch(const StudyText& text, std::int64_t context, std::int64_t tokens, std::span<const std::string> names) {
    engine::EvalConfig config{.context = tokens, .prompt = tokens - options_.positions, .caches = {names.begin(), names.end()}};
    Progress bar(text.name + " " + std::to_string(context));
    const auto report =
        engine::evaluate(loaded_.model, text.tokens, config, loaded_.threads, [&](std::int64_t done, std::int64_t total) {
          check_interrupt();
          bar.update(done, total);
        });
    for (const auto& result : report.results) rows_.put(row(text, context, tokens, result, report.floor_kld));
    rows_.save();
  }

  Json row(const StudyText& text, std::int64_t context, std::int64_t tokens, const engine::EvalResult& result, double floor) const {
    Json row = key(text, context, result.cache);
    row["version"] = caches_.version(result.cache);
    row["tokens"] = tokens;
    const Json quality = quality_json(result);
    for (const auto& [field, value] : quality.items()) {
      if (field == "kld_by_page") continue;
      row[field] = value.is_number_float() ? Json(short_number(value.get<double>())) : value;
    }
    row["floor_kld"] = short_number(floor);
    row["kld_by_page"] = short_numbers(result.kld_by_page);
    return row;
  }

  const RateOptions& options_;
  ResultRows rows_;
  LoadedModel loaded_;
  StudyCaches caches_;
};

}  // namespace

Verb add_study_rate(CLI::App& study) {
  auto options = std::make_shared<RateOptions>();
  options->caches = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "paper"};
  auto* command = study.add_subcommand("rate", "KL divergence, same top-1 and perplexity against bits, by text and context");
  add_study_options(*command, *options);
  add_text_options(*command, *options);
  command->add_option("--contexts", options->contexts, "context lengths in tokens (default 2048,4096,8192)")
      ->delimiter(',')
      ->group("Text");
  command->add_option("--positions", options->positions, "scored tokens at the end of a context (default 512)")
      ->transform(whole(2, 1 << 20))
      ->group("Text");
  command->add_option("--caches-at-once", options->caches_at_once, "caches in memory at a time (default 32)")
      ->transform(whole(1))
      ->group("Cache");
  return {command, [options] {
            RateStudy(*options).run();
            return Exit::ok;
          }};
}

}  // namespace qjl::cli
