// The weights of every layer, as views into the model's file.
#pragma once

#include <vector>

#include "model_config.hpp"
#include "model_file.hpp"
#include "weights.hpp"

namespace qjl::engine {

struct LayerWeights {
  Weight query, key, value, output;                      // [heads * head_dim, hidden], ..., [hidden, heads * head_dim]
  Weight gate, up, down;                                 // [feed_forward, hidden] twice, [hidden, feed_forward]
  std::vector<float> attention_norm, feed_forward_norm;  // [hidden]
  std::vector<float> query_bias, key_bias, value_bias;   // [heads * head_dim] or empty
  std::vector<float> query_norm, key_norm;               // [head_dim] or empty
  // Of a branch before it joins the hidden row, [hidden] or empty.
  std::vector<float> post_attention_norm, post_feed_forward_norm;
};

struct ModelWeights {
  Weight embedding, output;  // [vocab_size, hidden]; the same when tied
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;
};

// Takes every tensor's view and checks its shape. Errors: bad_file (missing, wrong shape or size), unsupported (a tensor that the
// architecture does not have: leaving it out would change the result).
ModelWeights load_weights(const ModelFile& file, const ModelConfig& config);

}  // namespace qjl::engine
