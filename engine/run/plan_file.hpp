// A plan: codes of every layer's keys and values, chosen so that a budget of bits buys the least damage.
//
// As a file it is a small JSON object, and the file's path is a cache type wherever one is asked for (cache_type.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model.hpp"

namespace qjl::engine {

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

// Errors: bad_file (found and wanted) on text that is no plan.
std::string plan_json(const Plan& plan);
Plan read_plan(std::string_view json, const std::string& name);

}  // namespace qjl::engine
