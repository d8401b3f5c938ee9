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
  bool keeps_state = false;  // a gated delta net (DeltaShape) in place of attention: no keys, no RoPE, no window
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

// Of layers that keep a state: a matrix [key_dim, value_dim] of each value head, and the last rows before the convolution. Keys have
// fewer heads than values; value head h has the key of head h / (value_heads / key_heads), or of h mod key_heads.
struct DeltaShape {
  enum class KeyOfValue : std::uint8_t { grouped, tiled };
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
  int kernel = 0;  // tokens that the convolution sees, its own included
  KeyOfValue key_of_value = KeyOfValue::grouped;

  int key_head(int value_head) const {
    return key_of_value == KeyOfValue::grouped ? value_head / (value_heads / key_heads) : value_head % key_heads;
  }
  std::int64_t key_width() const { return std::int64_t{key_heads} * key_dim; }
  std::int64_t value_width() const { return std::int64_t{value_heads} * value_dim; }
  std::int64_t mixed_width() const { return 2 * key_width() + value_width(); }            // of a row of query, key and value
  std::int64_t row_numbers() const { return (kernel - 1) * mixed_width(); }               // of the rows that are kept
  std::int64_t state_numbers() const { return row_numbers() + value_width() * key_dim; }  // of a layer: rows, then matrices
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
  int left_out_layers = 0;  // of the file, after these: they guess tokens further ahead
  // Of a head in the file, and in a cache: zeros fill rows up to head_dim, a width that caches have.
  int key_dim = 0, value_dim = 0, head_dim = 0;
  std::int64_t hidden = 0, vocab_size = 0;
  std::int64_t context_length = 0;  // that the model was trained for
  ExpertShape experts;
  DeltaShape delta;
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

  // Layers that attend are those of a cache, in their order; the others keep a state, one after the other.
  int num_cached_layers() const;
  const LayerShape& cached_layer(int cached_idx) const;
  std::int64_t recurrent_numbers() const { return (num_layers - num_cached_layers()) * delta.state_numbers(); }
};

// Errors: bad_file on a missing key or a number outside its range (found and wanted); unsupported on an architecture, a RoPE
// scaling or a key that the engine does not follow; invalid_argument on an option of RoPE without effect.
ModelConfig read_model_config(const ModelFile& file, const RopeOptions& rope = {});

}  // namespace qjl::engine
