// The weights of every layer, as views into the model's file.
#pragma once

#include <vector>

#include "model_config.hpp"
#include "model_file.hpp"
#include "weights.hpp"

namespace qjl::engine {

// down(activation(gate x + b) * (up x + b)) + b; biases may be empty.
struct FeedForwardWeights {
  Weight gate, up, down;                             // [feed_forward, hidden] twice, [hidden, feed_forward]
  std::vector<float> gate_bias, up_bias, down_bias;  // [feed_forward] twice, [hidden]
};

// Of a layer whose feed-forward part is a mixture; none in another.
struct ExpertWeights {
  Weight router;                           // [experts, hidden]
  std::vector<float> router_bias;          // [experts] or empty
  std::vector<FeedForwardWeights> routed;  // [experts]
  FeedForwardWeights shared;               // of all tokens, or without data
  Weight shared_gate;                      // [1, hidden]: the shared expert counts by the sigmoid of this; or without data
};

// Of a layer that keeps a state (DeltaShape). `mixed` is query, key and value before the convolution, of all heads.
struct DeltaWeights {
  Weight mixed, gate, output;            // [mixed_width, hidden], [value_width, hidden], [hidden, value_width]
  Weight decay, rate;                    // [value_heads, hidden] each
  std::vector<float> taps;               // [kernel, mixed_width] of the convolution, the last of the token itself
  std::vector<float> slope, decay_bias;  // [value_heads]: below 0; what the decay has is exp(slope softplus(decay x + bias))
  std::vector<float> norm;               // [value_dim]
};

struct LayerWeights {
  // [heads * key_dim, hidden], ..., [hidden, heads * value_dim]; a gated query [heads, query and gate, key_dim, hidden]. Without data
  // in a layer that keeps a state.
  Weight query, key, value, output;
  DeltaWeights delta;                                   // without data in a layer that attends
  std::vector<float> query_bias, key_bias, value_bias;  // [heads * key_dim] ... or empty
  std::vector<float> output_bias;                       // [hidden] or empty
  std::vector<float> query_norm, key_norm;              // [key_dim], [heads * key_dim] or empty
  std::vector<float> sink_logits;                       // [heads]: a logit of the softmax without a key; or empty
  FeedForwardWeights dense;                             // without data where there are experts
  ExpertWeights experts;
  // Before a branch, and of a branch before it joins the hidden row: [hidden] or empty.
  std::vector<float> attention_norm, feed_forward_norm, post_attention_norm, post_feed_forward_norm;

  bool has_experts() const { return !experts.routed.empty(); }
  bool keeps_state() const { return delta.mixed.data != nullptr; }
  const Weight& first() const { return keeps_state() ? delta.mixed : query; }  // that a pass multiplies with
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
