// `qjl study sensitivity`: what each layer's keys, and each layer's values, cost when they alone are coded.
//
//   a row: (model, text, context, positions, layer, side, code) -> KL divergence; study/sensitivity.hpp has the formula
#include <algorithm>
#include <string_view>

#include "interrupt.hpp"
#include "progress.hpp"
#include "qjl/error.hpp"
#include "ranges.hpp"
#include "result_rows.hpp"
#include "sensitivity.hpp"
#include "study.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct SensitivityOptions : StudyOptions {
  std::int64_t context = 3584, positions = 512;
};

std::string_view side_name(engine::CacheSide side) { return side == engine::CacheSide::keys ? "keys" : "values"; }

class SensitivityStudy {
 public:
  SensitivityStudy(const SensitivityOptions& options)
      : options_(options),
        rows_(options.results, {"model", "text", "context", "positions", "layer", "side", "code"}),
        loaded_(options.model),
        versions_(loaded_, options) {}

  void run() {
    if (options_.positions > options_.context) {
      throw Usage("[study] found --positions " + std::to_string(options_.positions) + ", wanted at most --ctx-size, " +
                  std::to_string(options_.context));
    }
    for (const StudyText& text : study_texts(loaded_, options_, options_.context)) measure(text);
  }

 private:
  // The versions of k2v2, k3v3 and k4v4 stand for those of all codes.
  std::string version() const {
    std::string text;
    for (const auto& name : versions_.names()) text += (text.empty() ? "" : " ") + versions_.version(name);
    return text;
  }

  Json key(const StudyText& text, const engine::LayerDamage& damage) const {
    return {{"model", model_name(loaded_)},    {"text", text.name},     {"context", options_.context},
            {"positions", options_.positions}, {"layer", damage.layer}, {"side", side_name(damage.side)},
            {"code", code_name(damage.code)}};
  }

  // Layers that lack a row.
  std::vector<int> missing_layers(const StudyText& text, const engine::SensitivityConfig& config) const {
    std::vector<int> layers;
    for (int layer = 0; layer < loaded_.model.config().num_cached_layers(); ++layer) {
      const auto lacks = [&](engine::CacheSide side, const std::vector<Code>& codes) {
        return std::any_of(codes.begin(), codes.end(), [&](Code code) {
          const Json* row = rows_.find(key(text, {.layer = layer, .side = side, .code = code}));
          return row == nullptr || row->value("version", "") != version();
        });
      };
      if (lacks(engine::CacheSide::keys, config.key_codes) || lacks(engine::CacheSide::values, config.value_codes))
        layers.push_back(layer);
    }
    return layers;
  }

  void measure(const StudyText& text) {
    engine::SensitivityConfig config{.context = options_.context, .prompt = options_.context - options_.positions};
    const auto missing = missing_layers(text, config);
    const auto layers_at_once = static_cast<std::size_t>(std::max(1, options_.caches_at_once / 6));
    Progress bar(text.name);
    for (std::size_t begin = 0; begin < missing.size(); begin += layers_at_once) {
      const auto end = std::min(begin + layers_at_once, missing.size());
      config.layers.assign(missing.begin() + static_cast<std::ptrdiff_t>(begin),
                           missing.begin() + static_cast<std::ptrdiff_t>(end));
      config.caches_at_once = options_.caches_at_once;
      const auto damages = engine::measure_sensitivity(
          loaded_.model, text.tokens, config, loaded_.threads, [&](std::int64_t done, std::int64_t total) {
            check_interrupt();
            const auto of_batch = static_cast<std::int64_t>(end - begin);
            bar.update(static_cast<std::int64_t>(begin) * total + done * of_batch, std::ssize(missing) * total);
          });
      for (const auto& damage : damages) rows_.put(row(text, damage));
      rows_.save();
    }
  }

  Json row(const StudyText& text, const engine::LayerDamage& damage) const {
    Json row = key(text, damage);
    row["version"] = version();
    row["bits"] = short_number(damage.bits);
    row["kld_mean"] = short_number(damage.kld_mean);
    row["kld_se"] = short_number(damage.kld_se);
    row["kld_by_page"] = short_numbers(damage.kld_by_page);
    return row;
  }

  const SensitivityOptions& options_;
  ResultRows rows_;
  LoadedModel loaded_;
  StudyCaches versions_;
};

}  // namespace

Verb add_study_sensitivity(CLI::App& study) {
  auto options = std::make_shared<SensitivityOptions>();
  options->caches = {"k2v2", "k3v3", "k4v4"};
  auto* command = study.add_subcommand("sensitivity", "the cost of coding one layer's keys or values alone");
  add_study_options(*command, *options);
  command->remove_option(command->get_option("--cache"));
  command->remove_option(command->get_option("--again"));
  add_text_options(*command, *options);
  command->add_option("-c,--ctx-size", options->context, "tokens of a text used (default 3584)")->transform(whole(1));
  command->add_option("--positions", options->positions, "scored tokens at the end (default 512)")->transform(whole(2, 1 << 20));
  command->add_option("--caches-at-once", options->caches_at_once, "caches in memory at a time (default 32)")->transform(whole(1));
  return {command, [options] {
            SensitivityStudy(*options).run();
            return Exit::ok;
          }};
}

}  // namespace qjl::cli
