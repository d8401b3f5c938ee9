// The kinds of numbers that a model's weights are stored as: ggml's tensor types, by the numbers of its file format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qjl::engine {

enum class WeightType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  iq1_m = 29,
  bf16 = 30,
  mxfp4 = 39,
};
std::string_view weight_type_name(WeightType type);
// Bytes and numbers of one block: q4_1 has 20 bytes for 32 numbers.
int block_bytes(WeightType type);
int block_numbers(WeightType type);

std::span<const WeightType> weight_types();  // all of them

// What a reader asks about a type's number before it is known to be a WeightType.
bool known_weight_type(std::uint32_t number);
std::string ggml_type_name(std::uint32_t number);  // of any ggml type, for messages
std::string known_weight_types();                  // "F32, F16, ..."

}  // namespace qjl::engine
