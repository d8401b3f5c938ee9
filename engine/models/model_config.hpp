// The shape of a model from the metadata of its file: general.architecture and the keys "<architecture>.*".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "rope.hpp"

namespace qjl::engine {

struct ModelConfig {
  std::string architecture, name;
  int num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int64_t hidden = 0, feed_forward = 0, vocab_size = 0, context_length = 0;
  double norm_epsilon = 1e-5;
  bool tied_embeddings = false;
  RopeConfig rope;
  float attention_scale = 0.0f;                  // of the softmax; 0: 1 / sqrt(head_dim)
  float attention_soft_cap = 0.0f;               // of its logits; 0: none
  std::vector<std::int64_t> layer_windows = {};  // [num_layers] tokens that a query sees, 0: all; empty: all, in every layer
};

// Errors: bad_file on a missing key or a number outside its range (found and wanted); unsupported on an architecture, a RoPE
// scaling or a mixture of experts that the engine does not run.
ModelConfig read_model_config(const ModelFile& file);

}  // namespace qjl::engine
