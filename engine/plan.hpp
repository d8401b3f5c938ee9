// A plan: codes of every layer's keys and values, chosen so that a budget of bits buys the least damage.
//
//   minimise   sum over layers of damage(layer, keys, code) + damage(layer, values, code)
//   such that  the sum of page bytes is at most the budget's
//
// Damages add up (measured: plan_costs.hpp); the choice is exact, by dynamic programming over bytes: layers * pairs of codes *
// lines of 64 bytes. As a file a plan is a small JSON object, and the file's path is a cache type wherever one is asked for.
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

struct Plan {
  std::string model = {};        // its name
  std::string fingerprint = {};  // of its tensors: model_fingerprint()
  int num_kv_heads = 0, head_dim = 0;
  std::uint64_t seed = kDefaultSeed;
  int sink_tokens = 4;
  std::vector<std::pair<Code, Code>> layer_codes = {};  // keys, values
  double budget_bits = 0;                               // asked for: bits per number of a sealed page, the mean over layers
  double bits_sealed = 0;                               // used
  double forecast_kld = 0;
  std::vector<std::string> texts = {};  // that the damages were measured on
};

// FNV-1a over names, types, shapes and first bytes of all tensors, 16 hexadecimal digits.
std::string model_fingerprint(const Model& model);

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

// Errors: bad_file (found and wanted) on text that is no plan.
std::string plan_json(const Plan& plan);
Plan read_plan(std::string_view json, const std::string& name);

// How a cache codes: a cache type of the library (qjl/config.hpp), or a plan.
struct CacheType {
  std::string name;
  CodecConfig codec;
  std::vector<std::pair<Code, Code>> layer_codes = {};  // empty: codec's everywhere
  std::string fingerprint = {};                         // of the model that a plan was made for
  // Sets it in a cache of a model's shape; the model's own RoPE stays. Errors: invalid_argument when the plan is for other shapes.
  void apply(CacheConfig& config) const;
};
// Whether a cache type is the path of a plan: it ends in .json.
bool is_plan(std::string_view cache_type);
// Errors: invalid_argument on an unknown type, io or bad_file on a plan that cannot be read.
CacheType read_cache_type(const std::string& cache_type);

}  // namespace qjl::engine
