// What codes cost in each layer, measured on texts: the damages that a plan is chosen by.
//
//   single[layer][side]        mean KL divergence (eval.hpp) with that side of that layer alone in its base code (s2, values l4)
//   group[side][half][code]    the same with half of the layers coded: those of smaller single damage, and the others
//   damage[layer][side][code]  = joint * single[layer][side] * group[side][half][code] / sum of single over that half
//   joint                      measured KL divergence of k3v2 over its forecast
//
// One measurement for each layer and side, because codes differ by the same ratio in every layer: rotated errors have one shape.
// Halves, because one bit in the damaging layers would drown all ratios. Layers add up (docs/results/trials.md
// compares forecasts with what was measured). Cost per text: an exact pass over the prompt for each batch of caches, and 2 layers + 37
// times the scored positions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval.hpp"
#include "plan_search.hpp"

namespace qjl::engine {

struct CostText {
  std::string name;
  std::vector<Token> tokens;
};

struct CostConfig {
  std::int64_t context = 2048;   // tokens of each text
  std::int64_t positions = 256;  // scored, at the end
  int caches_at_once = 20;       // each holds the context in 16 bit
};

struct PlanCosts {
  std::string model, fingerprint;
  std::int64_t context = 0, positions = 0;
  std::vector<std::string> texts;
  std::vector<LayerDamages> layers;
  std::vector<double> key_singles, value_singles;  // [layers]
  double joint = 0;
};

// Errors: those of evaluate(); `progress` may throw to stop.
PlanCosts measure_costs(Model& model, std::span<const CostText> texts, const CostConfig& config, ThreadPool& threads,
                        const Progress& progress);

std::string costs_json(const PlanCosts& costs);
// Errors: bad_file.
PlanCosts read_costs(std::string_view json, const std::string& name);

}  // namespace qjl::engine
