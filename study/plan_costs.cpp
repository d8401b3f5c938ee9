// plan_costs.hpp has the formulas.
#include "plan_costs.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "plan_file.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::engine {
namespace {

using Codes = std::pair<Code, Code>;
using Json = nlohmann::ordered_json;

enum Side : int { kKeys, kValues, kSides };
constexpr Code kBaseCode[kSides] = {Code::s2, Code::l4};
// Of each number of bits the closest code that every device has, if any, and the closest one of the host.
constexpr std::array<Code, 9> kSideCodes[kSides] = {
    {Code::s1, Code::s2, Code::t2w, Code::l8, Code::t3, Code::l16, Code::t4, Code::l32, Code::l64},
    {Code::s1, Code::l4, Code::t2, Code::l8, Code::t3, Code::l16, Code::t4, Code::l32, Code::l64}};
constexpr std::int64_t kTicks = 1000;  // of progress a case and text: batches differ in size
constexpr double kLeast = 1e-9;        // far below what arithmetic alone gives; keeps ratios finite

Code& side_of(Codes& codes, int side) { return side == kKeys ? codes.first : codes.second; }

// Those that a head of this width can have.
std::vector<Code> codes_of_side(int side, int head_dim) {
  std::vector<Code> codes;
  for (const Code code : kSideCodes[side]) {
    CodecConfig config;
    config.key_code = config.value_code = Code::f16;
    (side == kKeys ? config.key_code : config.value_code) = code;
    if (takes_width(config, head_dim)) codes.push_back(code);
  }
  return codes;
}

class Measurement {
 public:
  Measurement(Model& model, std::span<const CostText> texts, const CostConfig& config, ThreadPool& threads,
              const Progress& progress)
      : model_(model),
        texts_(texts),
        config_(config),
        threads_(threads),
        progress_(progress),
        num_layers_(model.config().num_cached_layers()),
        side_codes_{codes_of_side(kKeys, model.config().head_dim), codes_of_side(kValues, model.config().head_dim)} {
    const auto layers = static_cast<std::int64_t>(num_layers_);
    total_cases_ = 2 * layers + 2 * (std::ssize(side_codes_[kKeys]) + std::ssize(side_codes_[kValues])) + 1;
  }

  PlanCosts run();

 private:
  // Layers of a mask with one side in one code, all else exact.
  std::vector<Codes> codes_with(int side, Code code, const std::vector<bool>& layers) const {
    std::vector<Codes> codes(static_cast<std::size_t>(num_layers_), {Code::f16, Code::f16});
    for (std::size_t l = 0; l < codes.size(); ++l) {
      if (layers[l]) side_of(codes[l], side) = code;
    }
    return codes;
  }
  std::vector<double> measure(const std::vector<std::vector<Codes>>& cases);
  void add_batch(const std::vector<std::vector<Codes>>& cases, std::size_t begin, std::size_t end, std::vector<double>& kld);
  std::vector<double> measure_singles(int side);
  void measure_groups(int side, const std::vector<double>& singles, std::vector<LayerDamages>& layers);

  Model& model_;
  std::span<const CostText> texts_;
  const CostConfig& config_;
  ThreadPool& threads_;
  const Progress& progress_;
  int num_layers_;
  std::vector<Code> side_codes_[kSides];
  std::int64_t total_cases_ = 0, done_cases_ = 0;
};

void Measurement::add_batch(const std::vector<std::vector<Codes>>& cases, std::size_t begin, std::size_t end,
                            std::vector<double>& kld) {
  for (std::size_t t = 0; t < texts_.size(); ++t) {
    EvalConfig eval{.context = config_.context, .prompt = config_.context - config_.positions, .caches = {}};
    for (std::size_t i = begin; i < end; ++i) {
      CodecConfig codec;
      codec.key_code = codec.value_code = Code::f16;  // not the type f16, which has no sinks: a coded layer keeps them
      EvalCache& cache = eval.made_caches.emplace_back();
      cache.name = std::to_string(i);
      cache.config = model_.cache_config(codec, config_.context);
      cache.config.layer_codes = cases[i];
    }
    const auto report = evaluate(model_, texts_[t].tokens, eval, threads_, [&](std::int64_t done, std::int64_t total) {
      const auto texts = std::ssize(texts_), of_batch = static_cast<std::int64_t>(end - begin);
      const auto before = done_cases_ * texts + static_cast<std::int64_t>(t) * of_batch;
      if (progress_) progress_(kTicks * before + kTicks * of_batch * done / total, kTicks * total_cases_ * texts);
    });
    for (std::size_t i = begin; i < end; ++i)
      kld[i] += std::max(report.results[i - begin].kld_mean - report.floor_kld, kLeast) / static_cast<double>(texts_.size());
  }
  done_cases_ += static_cast<std::int64_t>(end - begin);
}

// Mean KL divergence of each case over texts.
std::vector<double> Measurement::measure(const std::vector<std::vector<Codes>>& cases) {
  std::vector<double> kld(cases.size());
  const auto at_once = static_cast<std::size_t>(std::max(1, config_.caches_at_once));
  for (std::size_t begin = 0; begin < cases.size(); begin += at_once)
    add_batch(cases, begin, std::min(begin + at_once, cases.size()), kld);
  return kld;
}

std::vector<double> Measurement::measure_singles(int side) {
  std::vector<std::vector<Codes>> cases;
  for (int layer = 0; layer < num_layers_; ++layer) {
    std::vector<bool> only(static_cast<std::size_t>(num_layers_));
    only[static_cast<std::size_t>(layer)] = true;
    cases.push_back(codes_with(side, kBaseCode[side], only));
  }
  return measure(cases);
}

// Both halves in every code; then each layer's share of its half.
void Measurement::measure_groups(int side, const std::vector<double>& singles, std::vector<LayerDamages>& layers) {
  std::vector<std::size_t> order(singles.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return singles[a] < singles[b]; });
  std::array<std::vector<bool>, 2> halves{std::vector<bool>(order.size()), std::vector<bool>(order.size())};
  std::array<double, 2> sums{};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t half = 2 * i < order.size() ? 0 : 1;
    halves[half][order[i]] = true;
    sums[half] += singles[order[i]];
  }
  std::vector<std::vector<Codes>> cases;
  for (const auto& half : halves) {
    for (const Code code : side_codes_[side]) cases.push_back(codes_with(side, code, half));
  }
  const std::vector<double> kld = measure(cases);
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const std::size_t half = halves[0][l] ? 0 : 1, count = side_codes_[side].size();
    for (std::size_t c = 0; c < count; ++c)
      (side == kKeys ? layers[l].keys : layers[l].values)
          .push_back({side_codes_[side][c], singles[l] * kld[half * count + c] / sums[half]});
  }
}

PlanCosts Measurement::run() {
  PlanCosts costs;
  costs.layers.resize(static_cast<std::size_t>(num_layers_));
  costs.key_singles = measure_singles(kKeys);
  costs.value_singles = measure_singles(kValues);
  measure_groups(kKeys, costs.key_singles, costs.layers);
  measure_groups(kValues, costs.value_singles, costs.layers);
  const std::vector<Codes> uniform(static_cast<std::size_t>(num_layers_), {Code::l8, Code::l4});
  costs.joint = measure({uniform})[0] / forecast(costs.layers, uniform);
  for (LayerDamages& layer : costs.layers) {
    for (auto* side : {&layer.keys, &layer.values}) {
      for (CodeDamage& damage : *side) damage.kld *= costs.joint;
    }
  }
  costs.model = model_.config().name;
  costs.fingerprint = model_fingerprint(model_);
  costs.context = config_.context;
  costs.positions = config_.positions;
  for (const CostText& text : texts_) costs.texts.push_back(text.name);
  return costs;
}

Json side_json(const std::vector<CodeDamage>& side) {
  Json json = Json::object();
  for (const CodeDamage& damage : side) json[std::string(code_name(damage.code))] = damage.kld;
  return json;
}

std::vector<CodeDamage> read_side(const Json& json, int side) {
  for (const auto& each : json.items()) {
    const auto names = [&](Code code) { return code_name(code) == each.key(); };
    if (std::ranges::none_of(kSideCodes[side], names))
      throw Error(ErrorKind::bad_file, "[plan] found code `" + each.key() + "`, wanted one that a plan may have there");
  }
  std::vector<CodeDamage> damages;
  for (const Code code : kSideCodes[side]) {
    const auto found = json.find(std::string(code_name(code)));  // a width may lack some
    if (found != json.end()) damages.push_back({code, found->get<double>()});
  }
  if (damages.empty()) throw Error(ErrorKind::bad_file, "[plan] found no code that a plan may have, wanted s1 and others");
  return damages;
}

}  // namespace

PlanCosts measure_costs(Model& model, std::span<const CostText> texts, const CostConfig& config, ThreadPool& threads,
                        const Progress& progress) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::invalid_argument, "[plan] found " + what); };
  if (texts.empty()) refuse("no text, wanted one at least");
  if (config.positions < 2 || config.positions > config.context)
    refuse(std::to_string(config.positions) + " positions, wanted 2 to the context's " + std::to_string(config.context));
  for (const CostText& text : texts) {
    if (std::ssize(text.tokens) < config.context)
      refuse(std::to_string(text.tokens.size()) + " tokens in " + text.name + ", wanted at least " +
             std::to_string(config.context));
  }
  return Measurement(model, texts, config, threads, progress).run();
}

std::string costs_json(const PlanCosts& costs) {
  Json json = {{"format", "qjl plan costs"}, {"version", 1},
               {"model", costs.model},       {"fingerprint", costs.fingerprint},
               {"context", costs.context},   {"positions", costs.positions},
               {"texts", costs.texts},       {"joint", costs.joint},
               {"layers", Json::array()}};
  for (std::size_t l = 0; l < costs.layers.size(); ++l) {
    json["layers"].push_back({{"key_single", costs.key_singles[l]},
                              {"value_single", costs.value_singles[l]},
                              {"keys", side_json(costs.layers[l].keys)},
                              {"values", side_json(costs.layers[l].values)}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

PlanCosts read_costs(std::string_view text, const std::string& name) {
  try {
    const Json json = parse_json(text);
    if (json.at("format") != "qjl plan costs" || json.at("version") != 1)
      throw Error(ErrorKind::bad_file,
                  "[plan] `" + name + "` holds " + json.at("format").dump() + ", wanted \"qjl plan costs\" version 1");
    PlanCosts costs;
    costs.model = json.at("model");
    costs.fingerprint = json.at("fingerprint");
    costs.context = whole_number<decltype(costs.context)>(json, "context");
    costs.positions = whole_number<decltype(costs.positions)>(json, "positions");
    costs.texts = json.at("texts").get<std::vector<std::string>>();
    costs.joint = json.at("joint");
    for (const Json& layer : json.at("layers")) {
      costs.layers.push_back({read_side(layer.at("keys"), kKeys), read_side(layer.at("values"), kValues)});
      const auto same = [](const CodeDamage& a, const CodeDamage& b) { return a.code == b.code; };
      if (!std::ranges::equal(costs.layers.back().keys, costs.layers.front().keys, same) ||
          !std::ranges::equal(costs.layers.back().values, costs.layers.front().values, same))
        throw Error(ErrorKind::bad_file, "[plan] `" + name + "` has other codes in layer " +
                                             std::to_string(costs.layers.size() - 1) + ", wanted those of layer 0");
      costs.key_singles.push_back(layer.at("key_single"));
      costs.value_singles.push_back(layer.at("value_single"));
    }
    return costs;
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::bad_file, "[plan] `" + name + "` holds no costs: " + error.what());
  }
}

}  // namespace qjl::engine
