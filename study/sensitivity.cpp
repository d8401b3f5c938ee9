// sensitivity.hpp has the formula.
#include "sensitivity.hpp"

#include <algorithm>
#include <string>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// Not codec_config("f16"), which has no sinks: a coded layer keeps them exact.
CodecConfig exact_codec() {
  CodecConfig codec;
  codec.key_code = codec.value_code = Code::f16;
  return codec;
}

std::vector<LayerDamage> list_cases(const ModelConfig& model, const SensitivityConfig& config) {
  std::vector<LayerDamage> cases;
  const auto add = [&](int layer, CacheSide side, const std::vector<Code>& codes) {
    for (const Code code : codes) {
      CodecConfig codec = exact_codec();
      (side == CacheSide::keys ? codec.key_code : codec.value_code) = code;
      cases.push_back({.layer = layer, .side = side, .code = code, .bits = side_bits(model.head_dim, codec, side)});
    }
  };
  std::vector<int> layers = config.layers;
  for (int layer = 0; config.layers.empty() && layer < model.num_cached_layers(); ++layer) layers.push_back(layer);
  for (const int layer : layers) {
    if (layer < 0 || layer >= model.num_cached_layers()) {
      throw Error(ErrorKind::invalid_argument, "[sensitivity] found layer " + std::to_string(layer) + ", wanted 0 to " +
                                                   std::to_string(model.num_cached_layers() - 1));
    }
    add(layer, CacheSide::keys, config.key_codes);
    add(layer, CacheSide::values, config.value_codes);
  }
  return cases;
}

EvalCache cache_of(const Model& model, const LayerDamage& damage, std::int64_t context) {
  EvalCache cache;
  cache.name = std::to_string(damage.layer);
  cache.config = model.cache_config(exact_codec(), context);
  cache.config.layer_codes.assign(static_cast<std::size_t>(model.config().num_cached_layers()), {Code::f16, Code::f16});
  auto& codes = cache.config.layer_codes[static_cast<std::size_t>(damage.layer)];
  (damage.side == CacheSide::keys ? codes.first : codes.second) = damage.code;
  return cache;
}

}  // namespace

std::vector<LayerDamage> measure_sensitivity(Model& model, std::span<const Token> tokens, const SensitivityConfig& config,
                                             ThreadPool& threads, const Progress& progress) {
  auto cases = list_cases(model.config(), config);
  const auto at_once = static_cast<std::size_t>(std::max(config.caches_at_once, 1));
  const auto batches = static_cast<std::int64_t>((cases.size() + at_once - 1) / at_once);
  for (std::size_t begin = 0; begin < cases.size(); begin += at_once) {
    const std::size_t end = std::min(begin + at_once, cases.size());
    EvalConfig eval{.context = config.context, .prompt = config.prompt, .caches = {}};
    for (std::size_t i = begin; i < end; ++i) eval.made_caches.push_back(cache_of(model, cases[i], config.context));
    const auto batch = static_cast<std::int64_t>(begin / at_once);
    const auto report = evaluate(model, tokens, eval, threads, [&](std::int64_t done, std::int64_t total) {
      if (progress) progress(batch * total + done, batches * total);
    });
    for (std::size_t i = begin; i < end; ++i) {
      const EvalResult& result = report.results[i - begin];
      cases[i].kld_mean = result.kld_mean;
      cases[i].kld_se = result.kld_se;
      cases[i].kld_by_page = result.kld_by_page;
    }
  }
  return cases;
}

}  // namespace qjl::engine
