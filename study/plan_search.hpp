// Choosing a plan: codes of every layer's keys and values, chosen so that a budget of bits buys the least damage.
//
//   minimise   sum over layers of damage(layer, keys, code) + damage(layer, values, code)
//   such that  the sum of page bytes is at most the budget's
//
// Damages add up (measured: plan_costs.hpp); the choice is exact, by dynamic programming over bytes: layers * pairs of codes *
// lines of 64 bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model.hpp"

namespace qjl::engine {

struct CodeDamage {
  Code code;
  double kld;  // forecast of the mean KL divergence that this code on one side of one layer adds
};
struct LayerDamages {
  std::vector<CodeDamage> keys, values;
};

// Bytes of a sealed page of one kv head, head and body.
std::int64_t page_bytes(int head_dim, std::pair<Code, Code> codes);

// The best codes for a budget in bytes of one page of one kv head in every layer, summed over layers; one pair per layer.
// Errors: invalid_argument when even the smallest codes need more (found and wanted), or a layer has no code to choose from.
std::vector<std::pair<Code, Code>> choose_codes(const std::vector<LayerDamages>& layers, int head_dim, std::int64_t budget_bytes);

// Sum of the damages of a choice. Errors: invalid_argument on a code that was not measured.
double forecast(const std::vector<LayerDamages>& layers, const std::vector<std::pair<Code, Code>>& codes);

// Bits per number of a sealed page, the mean over layers.
double bits_sealed(int head_dim, const std::vector<std::pair<Code, Code>>& codes);

// Room for a whole cache: every byte of `batch` sequences of `context` tokens, sinks, open pages and tables included.
struct CacheRoom {
  std::int64_t bytes = 0, context = 0;
  int batch = 1;
};
// The best codes that fit. Errors: as choose_codes().
std::vector<std::pair<Code, Code>> choose_codes(const std::vector<LayerDamages>& layers, const Model& model, const CacheRoom& room);

}  // namespace qjl::engine
