// The methods that rivals are made of; each file says what it computes and where the formula comes from.
#pragma once

#include <cstdint>

#include "model.hpp"
#include "side.hpp"

namespace qjl::engine::rivals {

// fp8.cpp
SidePtr fp8_e4m3();

// ggml_blocks.cpp. hadamard: size of the transform before the blocks, 0 for none.
SidePtr ggml_q8_0();
SidePtr ggml_q4_0(int hadamard = 0);

// min_max.cpp
SidePtr min_max_per_token(int bits);    // int2, int4; KIVI's values; QJL's values at 2 bits
SidePtr min_max_per_channel(int bits);  // KIVI's keys

// turbo_quant.cpp
SidePtr turbo_mse(int bits, int head_dim, std::uint64_t seed);
SidePtr turbo_prod(int bits, int head_dim, std::uint64_t seed);

// vllm.cpp
SidePtr eight_bits_per_token(int head_dim, bool is_float);
SidePtr four_bits_per_token(int head_dim, std::uint64_t seed);
SidePtr nvfp4(bool tries_four);

// kvarn.cpp
SidePtr kvarn_keys(int bits, int head_dim);
SidePtr kvarn_values(int bits, int head_dim);

// polar_quant.cpp
SidePtr polar_quant(int head_dim, std::uint64_t seed);

// kvquant.cpp
SidePtr kvquant_keys(int bits, const ModelConfig& model);
SidePtr kvquant_values(int bits, const ModelConfig& model);

// qjl_published.cpp
struct QjlSettings {
  enum class Outliers : std::uint8_t { none, per_prompt, per_32_tokens };
  int rows = 0;  // m
  int initial_rows = 0, initial_layers = 0;
  bool orthogonal = false;
  Outliers outliers = Outliers::none;
  int outlier_channels = 0, outlier_rows = 0, initial_outlier_rows = 0;
  std::uint64_t seed = 1;
};
SidePtr qjl_keys(const QjlSettings& settings, const ModelConfig& model);

}  // namespace qjl::engine::rivals
