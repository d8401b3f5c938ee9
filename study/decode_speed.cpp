// Fills every cache by one exact pass, then times single steps of all in turn.
#include "decode_speed.hpp"

#include <algorithm>
#include <chrono>
#include <memory>

#include "cache_type.hpp"
#include "eval_metrics.hpp"
#include "finite.hpp"
#include "qjl/error.hpp"
#include "trial_cache.hpp"

namespace qjl::engine {
namespace {

struct Lane {  // one cache type and its sequence
  std::unique_ptr<KvCache> cache;
  SequenceId sequence{};
  std::vector<Token> next;  // one
  std::vector<double> step_seconds;
};

void check(std::int64_t num_tokens, const DecodeSpeedConfig& config) {
  if (config.steps < 1 || config.steps >= config.context) {
    throw Error(ErrorKind::invalid_argument, "[decode_speed] found " + std::to_string(config.steps) + " steps, wanted 1 to " +
                                                 std::to_string(config.context - 1));
  }
  if (num_tokens < config.context) {
    throw Error(ErrorKind::invalid_argument,
                "[decode_speed] the text has " + std::to_string(num_tokens) + " tokens, wanted " + std::to_string(config.context));
  }
}

std::vector<Lane> make_lanes(const Model& model, const DecodeSpeedConfig& config) {
  std::vector<Lane> lanes;
  for (const auto& name : config.caches) {
    Lane& lane = lanes.emplace_back();
    CacheConfig shape = model.cache_config({}, config.context);
    read_cache_type(name).apply(shape);
    lane.cache = std::make_unique<KvCache>(std::move(shape));
    lane.sequence = lane.cache->create();
    lane.cache->reserve(lane.sequence, config.context);
  }
  return lanes;
}

Token best_of(std::span<const float> logits) { return static_cast<Token>(std::ranges::max_element(logits) - logits.begin()); }

// The keys and values of an exact pass do not depend on the cache, so one pass serves all lanes.
void fill(Model& model, std::span<const Token> prompt, std::vector<Lane>& lanes, ThreadPool& threads) {
  KvCache exact(model.cache_config(codec_config("f16"), static_cast<std::int64_t>(prompt.size())));
  const SequenceId sequence = exact.create();
  const ForwardItem items[] = {{sequence, prompt}};
  const auto copy = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
    for (auto& lane : lanes) lane.cache->append(lane.sequence, layer, keys, values, threads);
  };
  const ForwardOptions options{.logits = ForwardOptions::Logits::last, .observe_kv = copy};
  const auto logits = model.forward(exact, items, options, threads);
  require_finite(logits, "logits");
  const Token best = best_of(logits);
  for (auto& lane : lanes) {
    copy_state(exact, sequence, *lane.cache, lane.sequence);
    lane.next = {best};
  }
}

void step(Model& model, Lane& lane, ThreadPool& threads) {
  const auto start = std::chrono::steady_clock::now();
  const ForwardItem items[] = {{lane.sequence, lane.next}};
  const auto logits = model.forward(*lane.cache, items, {}, threads);
  require_finite(logits, "logits");
  lane.next = {best_of(logits)};
  lane.step_seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

}  // namespace

std::vector<double> decode_speed(Model& model, std::span<const Token> tokens, const DecodeSpeedConfig& config, ThreadPool& threads,
                                 const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  check(static_cast<std::int64_t>(tokens.size()), config);
  auto lanes = make_lanes(model, config);
  fill(model, tokens.first(static_cast<std::size_t>(config.context - config.steps)), lanes, threads);
  const std::int64_t total = config.steps * static_cast<std::int64_t>(lanes.size());
  std::int64_t done = 0;
  for (std::int64_t i = 0; i < config.steps; ++i) {
    for (auto& lane : lanes) {
      step(model, lane, threads);
      progress(++done, total);
    }
  }
  std::vector<double> speeds;
  for (const auto& lane : lanes) speeds.push_back(1.0 / nearest_rank(lane.step_seconds, 0.5));
  return speeds;
}

}  // namespace qjl::engine
