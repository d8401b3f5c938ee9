// The shape of a model from the metadata of its file: general.architecture and the keys "<architecture>.*".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "architecture.hpp"
#include "model_file.hpp"
#include "rope.hpp"

namespace qjl::engine {

struct LayerShape {
  RopeConfig rope;
  std::int64_t window = 0;  // tokens that a query sees, its own included; 0: all
};

struct ModelConfig {
  const Architecture* family = nullptr;  // a row of the table, once read_model_config has made this
  std::string name;
  int num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int64_t hidden = 0, feed_forward = 0, vocab_size = 0, context_length = 0;
  double norm_epsilon = 1e-5;
  bool tied_embeddings = false;
  float embedding_scale = 1.0f;     // times a token's row
  float attention_scale = 0.0f;     // of the softmax; 0: 1 / sqrt(head_dim)
  float attention_soft_cap = 0.0f;  // of its logits; 0: none
  float logit_soft_cap = 0.0f;      // of the model's own: cap tanh(logit / cap); 0: none
  std::vector<LayerShape> layers;   // [num_layers]
};

// Errors: bad_file on a missing key or a number outside its range (found and wanted); unsupported on an architecture, a RoPE
// scaling or a mixture of experts that the engine does not run.
ModelConfig read_model_config(const ModelFile& file);

}  // namespace qjl::engine
