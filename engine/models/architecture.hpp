// What may differ between families of models: a row for each, read by the one forward pass.
//
// A row is a constant in the file that bears the family's name (llama.cpp's names of general.architecture); the table of them is in
// architecture.cpp. What a file may or may not hold of itself (biases, tied embeddings, RoPE scaling, experts, a window) is no field: it
// is looked for.
#pragma once

#include <cstdint>
#include <string_view>

namespace qjl::engine {

class MetadataKeys;
struct ModelConfig;

enum class Norms : std::uint8_t {
  pre,           // h += branch(norm(h))
  pre_and_post,  // h += norm(branch(norm(h)))
  post,          // h += norm(branch(h))
};

// RMS norm of queries and keys before RoPE.
enum class HeadNorms : std::uint8_t {
  none,
  each_head,  // weights [head_dim], the same for all heads
  all_heads,  // one norm over the whole row, weights [heads * head_dim]
};

enum class Activation : std::uint8_t { silu, gelu_tanh, clamped_swiglu };  // of the gate; the formulas are in engine/math/ops.hpp

// The weights of the experts that a token chooses, those with the largest router logits.
enum class Routing : std::uint8_t {
  softmax_of_chosen,  // they sum to 1
  softmax_of_all,     // as they stand among all
};

struct Architecture {
  std::string_view name;  // as general.architecture says it
  // RoPE turns channels (2 i, 2 i + 1) instead of (i, i + dimensions / 2), unless the file says another order.
  bool interleaved_pairs = false;
  HeadNorms head_norms = HeadNorms::none;
  Norms norms = Norms::pre;
  Activation activation = Activation::silu;
  Routing routing = Routing::softmax_of_chosen;
  // Where the file has a window (attention.sliding_window): of so many layers the last sees all, unless the file says another number
  // (attention.sliding_window_pattern); 0: none does. Layers with a window turn as the others do, or by a plain RoPE without scaling;
  // their base, where the file does not say (rope.freq_base_swa), is this, or with 0 that of the others.
  int full_attention_every = 0;
  bool plain_rope_in_window = false;
  double window_rope_base = 0.0;
  // Where the file has layers with a state (ssm.state_size): the same period of those that attend, unless the file says another
  // (full_attention_interval), or which (attention.recurrent_layers).
  bool has_state_layers = false;
  bool gates_attention = false;     // a query's rows come with those of a gate of its head's output, head by head
  bool yarn_between_pairs = false;  // YaRN's blend begins and ends between pairs (YarnScaling::Bounds::exact)
  // What the family computes from its keys beyond those that all have; called when the rest of the config is read. Null: nothing.
  void (*describe)(const MetadataKeys& keys, ModelConfig& config) = nullptr;
};

// Errors: unsupported on a name that no row has.
const Architecture& find_architecture(std::string_view name);

}  // namespace qjl::engine
