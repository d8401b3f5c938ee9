// `qjl study distortion`: how far keys, values, scores and outputs of each layer are from the exact ones, per cache type.
//
//   a row: (source, text, tokens, layer, cache) -> the errors of study/distortion.hpp and the bits of a sealed page
//
// The source is the model on each text, with the queries of its last tokens; or two .npy files [layers, tokens, head_dim] of keys
// and values captured elsewhere. Such tokens are repeated until they fill a page: where they are few, a stored mean looks better
// than it is on a whole text.
#include <spdlog/spdlog.h>

#include <filesystem>

#include "distortion.hpp"
#include "interrupt.hpp"
#include "npy.hpp"
#include "progress.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "ranges.hpp"
#include "result_rows.hpp"
#include "study.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kSinks = 4;  // tokens left out at the start: most types keep them exactly, elsewhere than in the page

struct DistortionOptions : StudyOptions {
  std::int64_t context = 2048;
  std::string keys, values;
};

class DistortionStudy {
 public:
  DistortionStudy(const DistortionOptions& options)
      : options_(options),
        rows_(options.results, {"source", "text", "tokens", "layer", "cache"}),
        loaded_(options.model),
        caches_(loaded_, options) {}

  void run() {
    if (options_.texts.empty() && options_.keys.empty()) throw Usage("[study] found no --texts and no --keys, wanted one of them");
    if (!options_.keys.empty()) compare_files();
    if (options_.texts.empty()) return;
    for (const StudyText& text : study_texts(loaded_, options_, options_.context)) compare_text(text);
  }

 private:
  std::vector<std::string> missing(const std::string& source, const std::string& text, std::int64_t tokens, int last_layer) const {
    std::vector<std::string> names;
    for (const auto& cache : caches_.names()) {
      const Json* row =
          rows_.find({{"source", source}, {"text", text}, {"tokens", tokens}, {"layer", last_layer}, {"cache", cache}});
      if (caches_.is_missing(cache, row)) names.push_back(cache);
    }
    return names;
  }

  void put(const std::string& source, const std::string& text, const engine::CapturedLayer& layer, engine::TrialCache& trial) {
    const engine::Distortion d = engine::compare_layer(trial, layer, kSinks, loaded_.threads);
    rows_.put({{"source", source},
               {"text", text},
               {"tokens", layer.keys.tokens},
               {"layer", layer.layer},
               {"cache", trial.name()},
               {"version", caches_.version(trial.name())},
               {"bits_sealed", short_number(trial.bits_sealed())},
               {"key_bits", short_number(trial.side_bits(engine::CacheSide::keys))},
               {"value_bits", short_number(trial.side_bits(engine::CacheSide::values))},
               {"key_error", short_number(d.key_error)},
               {"value_error", short_number(d.value_error)},
               {"score_error", short_number(d.score_error)},
               {"output_error", short_number(d.output_error)}});
  }

  void compare_text(const StudyText& text) {
    const auto tokens = std::ssize(text.tokens) / kTokensPerPage * kTokensPerPage;
    if (tokens == 0) return spdlog::warn("{} has {} tokens, less than a page", text.name, text.tokens.size());
    const auto names = missing(model_name(loaded_), text.name, tokens, loaded_.model.config().num_cached_layers() - 1);
    if (names.empty()) return;
    std::vector<engine::TrialCache> trials;
    for (const auto& name : names) trials.push_back(caches_.make(name, tokens));
    Progress bar(text.name);
    engine::capture(loaded_.model, std::span(text.tokens).first(static_cast<std::size_t>(tokens)), kErrorQueries, loaded_.threads,
                    [&](const engine::CapturedLayer& layer) {
                      for (auto& trial : trials) {
                        check_interrupt();
                        put(model_name(loaded_), text.name, layer, trial);
                      }
                      bar.update(layer.layer + 1, loaded_.model.config().num_cached_layers());
                    });
    rows_.save();
  }

  // One layer of a captured array, its tokens repeated to fill a page.
  static engine::CapturedRows page_of(const NpyArray& array, std::int64_t layer) {
    const std::int64_t tokens = array.shape[1], dim = array.shape[2];
    engine::CapturedRows rows{1, kTokensPerPage, dim, {}};
    for (std::int64_t t = 0; t < kTokensPerPage; ++t) {
      const auto from = array.numbers.begin() + (layer * tokens + t % tokens) * dim;
      rows.numbers.insert(rows.numbers.end(), from, from + dim);
    }
    return rows;
  }

  // The model that captured arrays stand for, as far as a rival asks: one kv head, no RoPE.
  engine::ModelConfig page_model(const std::vector<std::int64_t>& shape) const {
    engine::ModelConfig model = loaded_.model.config();
    model.num_layers = static_cast<int>(shape[0]);
    model.num_heads = model.num_kv_heads = 1;
    model.head_dim = static_cast<int>(shape[2]);
    model.layers.assign(static_cast<std::size_t>(shape[0]), {});
    return model;
  }

  void compare_files() {
    const NpyArray keys = read_npy(options_.keys), values = read_npy(options_.values);
    if (keys.shape.size() != 3 || keys.shape != values.shape || keys.shape[1] < 1) {
      throw Error(ErrorKind::invalid_argument,
                  "[study] found arrays of different or other shapes, wanted [layers, tokens, head_dim]");
    }
    const auto source = std::filesystem::path(options_.keys).stem().string();
    const int layers = static_cast<int>(keys.shape[0]);
    const auto made_for = page_model(keys.shape);
    for (const auto& name : missing(source, "", kTokensPerPage, layers - 1)) {
      CacheConfig shape = caches_.make(name, kTokensPerPage).cache().config();
      shape.num_layers = layers;
      shape.num_kv_heads = 1;
      shape.head_dim = made_for.head_dim;
      shape.codec.rope = {};
      shape.layer_ropes.clear();
      shape.layer_windows.clear();
      engine::TrialCache trial(name, made_for, shape);
      if (trial.learns()) continue;  // from a prompt, which there is none of
      for (int layer = 0; layer < layers; ++layer) {
        put(source, "", {.layer = layer, .keys = page_of(keys, layer), .values = page_of(values, layer), .queries = {}}, trial);
      }
    }
    rows_.save();
  }

  const DistortionOptions& options_;
  ResultRows rows_;
  LoadedModel loaded_;
  StudyCaches caches_;
};

}  // namespace

Verb add_study_distortion(CLI::App& study) {
  auto options = std::make_shared<DistortionOptions>();
  options->caches = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "paper"};
  auto* command = study.add_subcommand("distortion", "errors of keys, values, scores and outputs, by layer");
  add_study_options(*command, *options);
  add_text_options(*command, *options);
  command->get_option("--texts")->required(false);
  command->add_option("-c,--ctx-size", options->context, "tokens of a text used (default 2048)")->transform(whole(1));
  auto* keys = command->add_option("--keys", options->keys, "captured keys instead of a text, .npy [layers, tokens, head_dim]");
  auto* values = command->add_option("--values", options->values, "captured values, the same");
  keys->needs(values);
  values->needs(keys);
  return {command, [options] {
            DistortionStudy(*options).run();
            return Exit::ok;
          }};
}

}  // namespace qjl::cli
