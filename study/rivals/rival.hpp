// Rivals: the caches of other methods, simulated. A row is quantised and decoded to 16 bits when its page is sealed; the sizes are
// those that their authors' formats have, every scale, zero, norm, index and outlier counted.
//
//   name                bits, d = 64 (128)   file
//   fp8                 8                    fp8.cpp
//   q8_0 q4_0 q4_0h     8.5, 4.5, 4.5        ggml_blocks.cpp     h: after a Hadamard transform, llama.cpp today
//   fp8_token           8.5 (8.25)           vllm.cpp            scales of a token and head, as int8_token
//   int4_token          4.5 (4.25)           vllm.cpp            after random signs and a Hadamard transform
//   nvfp4 nvfp4_4over6  4.5                  vllm.cpp            fp8 scales of 16 channels
//   kvarn_k4v2          3.56 (3.38)          kvarn.cpp           tiles of 128 tokens, balanced by rows and columns
//   int4 int2           5, 3                 min_max.cpp         groups of 32 channels
//   kivi4 kivi2         5, 3                 min_max.cpp         keys per channel of 32 tokens
//   kvquant4 kvquant3                        kvquant.cpp         before RoPE, non-uniform, 1 % outliers
//   polar4              3.875                polar_quant.cpp
//   tq4 tq3 tq2         b + .25 (.125)       turbo_quant.cpp     TurboQuant-mse
//   tqprod4 tqprod3     b + .375 (.1875)     turbo_quant.cpp     TurboQuant-prod keys, mse values
//   qjl3                3.125 (3.0625)       qjl_published.cpp   Gaussian sketch of m = 3 d, values min-max 2 bits
//   qjl_repo            d = 128: 3.867       qjl_published.cpp   the released settings
//
// Options follow as NAME:option=value,...: seed=N (rotations and sketches), sinks=N (first tokens kept exact, 0 as published); qjl3
// also sketch=gaussian|orthogonal, rows=N, outliers=N, outlier_rows=N (channels found in the prompt).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model.hpp"
#include "side.hpp"

namespace qjl::engine {

// Whether the part of a cache type before any `:` names a rival.
bool is_rival(std::string_view cache_type);
// Errors: invalid_argument on an unknown name or option.
void check_rival(std::string_view cache_type);
// "fp8, q8_0, ..."
std::string rival_names();

class Rival {
 public:
  // Errors: invalid_argument on an unknown name or option, or a head_dim that the method cannot code.
  Rival(std::string_view cache_type, const ModelConfig& model);

  // Keys (after RoPE) and values of a whole prompt, any dtype, before its pages of this layer are sealed: for methods that
  // calibrate.
  void learn(int layer, const TensorView& keys, const TensorView& values);
  // Whether pages can only be coded after learn().
  bool learns() const { return keys_->learns() || values_->learns(); }

  // Replaces the rows of a page by what the method would decode. For CacheConfig::on_seal; several threads may call it.
  void code(const SealingPage& page) const;

  // Stored bits per number of a sealed page, the mean over layers: of all, of keys, of values.
  double bits_sealed() const { return 0.5 * (key_bits() + value_bits()); }
  double key_bits() const { return mean_bits(*keys_); }
  double value_bits() const { return mean_bits(*values_); }

 private:
  double mean_bits(const rivals::Side& side) const;

  int num_layers_, num_kv_heads_, head_dim_;
  std::int64_t sinks_ = 0;
  rivals::SidePtr keys_, values_;
};

}  // namespace qjl::engine
