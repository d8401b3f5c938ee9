// The RoPE of a model from its file's keys and tensors, and from what a user wants instead.
//
//   rope.{freq_base, dimension_count, scale_linear}
//   rope.scaling.{type, factor, original_context_length, attn_factor, low_freq_factor, high_freq_factor}
//   rope.scaling.yarn_{ext_factor, attn_factor, beta_fast, beta_slow, log_multiplier}
//   rope.interleaved_pairs                   of our own: the order of the rows, where it is not that of GGUF
//   rope_freqs.weight                        divisors of the frequencies
//   rope_factors_{short, long}.weight        the same, for a context up to the original one, and for a longer one
//
// Names, and what they are when absent, as in llama.cpp: a factor without a type is linear, one of 0 is none. YaRN's magnitude is 1 + 0.1 log(factor), or
// yarn_attn_factor, where converters put the attention_factor of transformers; attn_factor, which llama.cpp writes as 1, multiplies it,
// and so does a user's. LongRoPE's is attn_factor alone.
#pragma once

#include <cstdint>
#include <optional>

#include "model_file.hpp"
#include "rope.hpp"

namespace qjl::engine {

class MetadataKeys;
struct Architecture;

inline constexpr double kMostBase = 1e12;

// What a user may set; the file says the rest.
struct RopeOptions {
  enum class Scaling : std::uint8_t { none, linear, yarn };
  std::optional<Scaling> scaling = {};
  std::optional<double> base = {};    // above 0
  std::optional<double> factor = {};  // by which a context is longer than the original one, above 0
  std::optional<double> yarn_original_context = {}, yarn_ext_factor = {};
  std::optional<double> yarn_attention_factor = {};  // times the magnitude that YaRN has without it, above 0
  std::optional<double> yarn_beta_fast = {}, yarn_beta_slow = {};
  std::int64_t context = 0;  // tokens that will be used, which decides between short and long factors; 0: what the model says
};

// How many channels of a head turn, and how fast; key_dim: where the file does not say, all. Errors: bad_file (found and wanted),
// unsupported on an unknown type of scaling, invalid_argument on an option (by its name in the program) that the type does not use.
RopeConfig read_rope(const ModelFile& file, const MetadataKeys& keys, const Architecture& family, int key_dim,
                     const RopeOptions& options);
// The same base and channels without scaling: what layers with a window have in some families.
RopeConfig plain_rope(const RopeConfig& rope, double base);

}  // namespace qjl::engine
