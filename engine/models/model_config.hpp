// The shape of a model from the metadata of its file: general.architecture and the keys "<architecture>.*".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "architecture.hpp"
#include "model_file.hpp"
#include "rope.hpp"
#include "rope_keys.hpp"

namespace qjl::engine {

inline constexpr std::int64_t kMostContext = std::int64_t{1} << 30;  // tokens, of any model

struct LayerShape {
  RopeConfig rope;
  std::int64_t window = 0;        // tokens that a query sees, its own included; 0: all
  std::int64_t feed_forward = 0;  // width of its feed-forward part, where that is no mixture
};

// Of layers whose feed-forward part is a mixture of experts.
struct ExpertShape {
  int count = 0, used = 0;               // in a layer, by a token
  std::int64_t feed_forward = 0;         // of one expert
  std::int64_t shared_feed_forward = 0;  // of the expert that all tokens use, where a file has one
  Routing routing = Routing::softmax_of_chosen;
};

// Queries at position p are scaled by 1 + rate log(1 + floor(p / length)). rate 0: not at all.
struct QueryGrowth {
  float rate = 0.0f;
  double length = 1.0;
};

struct ModelConfig {
  const Architecture* family = nullptr;  // a row of the table, once read_model_config has made this
  std::string name;
  int num_layers = 0, num_heads = 0, num_kv_heads = 0;
  // Of a head in the file, and in a cache: zeros fill rows up to head_dim, a width that caches have.
  int key_dim = 0, value_dim = 0, head_dim = 0;
  std::int64_t hidden = 0, vocab_size = 0;
  std::int64_t context_length = 0;  // that the model was trained for
  ExpertShape experts;
  double norm_epsilon = 1e-5;
  bool tied_embeddings = false;
  float embedding_scale = 1.0f;     // times a token's row
  float residual_scale = 1.0f;      // times a branch before it joins the hidden row
  float logit_scale = 1.0f;         // times the model's logits
  float attention_scale = 0.0f;     // of the softmax; 0: 1 / sqrt(head_dim)
  float attention_soft_cap = 0.0f;  // of its logits; 0: none
  float logit_soft_cap = 0.0f;      // of the model's own: cap tanh(logit / cap); 0: none
  QueryGrowth query_growth;
  std::vector<LayerShape> layers;     // [num_layers]
  std::vector<std::string> warnings;  // what a user should know of the file
};

// Errors: bad_file on a missing key or a number outside its range (found and wanted); unsupported on an architecture, a RoPE
// scaling or a key that the engine does not follow; invalid_argument on an option of RoPE without effect.
ModelConfig read_model_config(const ModelFile& file, const RopeOptions& rope = {});

}  // namespace qjl::engine
