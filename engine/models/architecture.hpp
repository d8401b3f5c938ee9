// What may differ between families of models: a row for each, read by the one forward pass.
//
// A row is a constant in the file that bears the family's name (llama.cpp's names of general.architecture); the table of them is in
// architecture.cpp. What a file may or may not hold of itself (biases, tied embeddings, RoPE scaling) is no field: it is looked for.
#pragma once

#include <cstdint>
#include <string_view>

namespace qjl::engine {

class MetadataKeys;
struct ModelConfig;

enum class Norms : std::uint8_t {
  pre,           // h += branch(norm(h))
  pre_and_post,  // h += norm(branch(norm(h)))
};

enum class Activation : std::uint8_t { silu, gelu_tanh };  // of the gate; the formulas are in engine/math/ops.hpp

struct Architecture {
  std::string_view name;           // as general.architecture says it
  bool interleaved_pairs = false;  // RoPE turns channels (2 i, 2 i + 1) instead of (i, i + dimensions / 2)
  bool query_key_norm = false;     // RMS norm of every head's queries and keys before RoPE
  Norms norms = Norms::pre;
  Activation activation = Activation::silu;
  // What the family computes from its keys beyond those that all have; called when the rest of the config is read. Null: nothing.
  void (*describe)(const MetadataKeys& keys, ModelConfig& config) = nullptr;
};

// Errors: unsupported on a name that no row has.
const Architecture& find_architecture(std::string_view name);

}  // namespace qjl::engine
