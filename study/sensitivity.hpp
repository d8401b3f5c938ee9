// What each layer's keys, and each layer's values, cost when they alone are coded: the damage that a plan spends its bits against.
//
//   damage[layer][side][code] = mean KL divergence (eval.hpp) of a cache with that side of that layer in that code, all else exact
//
// Cost: one exact pass over the prompt per batch of caches, and layers * 2 * codes times the scored positions.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "eval.hpp"
#include "trial_cache.hpp"

namespace qjl::engine {

struct LayerDamage {
  int layer = 0;
  CacheSide side = CacheSide::keys;
  Code code = Code::f16;
  double bits = 0;  // of that side of a sealed page, a number
  double kld_mean = 0, kld_se = 0;
  std::vector<double> kld_by_page = {};  // for sums and ratios with honest errors
};

struct SensitivityConfig {
  std::int64_t context = 3584;
  std::int64_t prompt = 3072;
  std::vector<Code> key_codes = {Code::s2, Code::l8, Code::l16};
  std::vector<Code> value_codes = {Code::l4, Code::l8, Code::l16};
  std::vector<int> layers = {};  // empty: all
  int caches_at_once = 16;       // each holds the whole context in 16 bit
};

// Layer by layer, keys before values, codes in the given order. `progress` may throw to stop.
// Errors: those of evaluate(), invalid_argument on a code of the other side.
std::vector<LayerDamage> measure_sensitivity(Model& model, std::span<const Token> tokens, const SensitivityConfig& config,
                                             ThreadPool& threads, const Progress& progress);

}  // namespace qjl::engine
