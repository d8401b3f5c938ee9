// The weight types: name, bytes and numbers of a block, as ggml lays them out (ggml-common.h).
//
//   f32, f16, bf16                one number
//   qN_0: f16 scale + codes       qN_1: f16 scale, f16 minimum + codes       32 numbers
//   qN_k: f16 scales, 4-bit to 8-bit scales of sub-blocks + codes            256 numbers
//   iq4_nl, iq4_xs: as q4_0, q4_k, codes of levels that are not even         32, 256 numbers
//   iq1, iq2, iq3: f16 scale, sub-scales, indices of points and signs         256 numbers
//   mxfp4: a power of two + codes of 4-bit floats                            32 numbers
#include "weight_type.hpp"

#include <array>
#include <utility>

namespace qjl::engine {
namespace {

struct Row {
  WeightType type;
  std::string_view name;
  int bytes;
  int numbers;
};

constexpr Row kRows[] = {
    {WeightType::f32, "F32", 4, 1},
    {WeightType::f16, "F16", 2, 1},
    {WeightType::bf16, "BF16", 2, 1},
    {WeightType::q4_0, "Q4_0", 18, 32},
    {WeightType::q4_1, "Q4_1", 20, 32},
    {WeightType::q5_0, "Q5_0", 22, 32},
    {WeightType::q5_1, "Q5_1", 24, 32},
    {WeightType::q8_0, "Q8_0", 34, 32},
    {WeightType::q2_k, "Q2_K", 84, 256},
    {WeightType::q3_k, "Q3_K", 110, 256},
    {WeightType::q4_k, "Q4_K", 144, 256},
    {WeightType::q5_k, "Q5_K", 176, 256},
    {WeightType::q6_k, "Q6_K", 210, 256},
    {WeightType::iq4_nl, "IQ4_NL", 18, 32},
    {WeightType::iq4_xs, "IQ4_XS", 136, 256},
    {WeightType::mxfp4, "MXFP4", 17, 32},
    {WeightType::iq1_s, "IQ1_S", 50, 256},
    {WeightType::iq1_m, "IQ1_M", 56, 256},
    {WeightType::iq2_xxs, "IQ2_XXS", 66, 256},
    {WeightType::iq2_xs, "IQ2_XS", 74, 256},
    {WeightType::iq2_s, "IQ2_S", 82, 256},
    {WeightType::iq3_xxs, "IQ3_XXS", 98, 256},
    {WeightType::iq3_s, "IQ3_S", 110, 256},
};

// Types of ggml that the engine does not read, for the message.
constexpr std::pair<std::uint32_t, std::string_view> kOthers[] = {
    {9, "Q8_1"}, {15, "Q8_K"}, {24, "I8"}, {25, "I16"}, {26, "I32"}, {27, "I64"}, {28, "F64"}, {34, "TQ1_0"}, {35, "TQ2_0"},
};

const Row* find_row(std::uint32_t number) {
  for (const Row& row : kRows) {
    if (static_cast<std::uint32_t>(row.type) == number) return &row;
  }
  return nullptr;
}

constexpr auto kTypes = [] {
  std::array<WeightType, std::size(kRows)> types{};
  for (std::size_t i = 0; i < types.size(); ++i) types[i] = kRows[i].type;
  return types;
}();

}  // namespace

std::span<const WeightType> weight_types() { return kTypes; }

bool known_weight_type(std::uint32_t number) { return find_row(number) != nullptr; }

std::string ggml_type_name(std::uint32_t number) {
  if (const Row* row = find_row(number)) return std::string(row->name);
  for (const auto& [other, name] : kOthers) {
    if (other == number) return std::string(name);
  }
  return "number " + std::to_string(number);
}

std::string known_weight_types() {
  std::string out;
  for (const Row& row : kRows) out.append(out.empty() ? "" : ", ").append(row.name);
  return out;
}

std::string_view weight_type_name(WeightType type) { return find_row(static_cast<std::uint32_t>(type))->name; }
int block_bytes(WeightType type) { return find_row(static_cast<std::uint32_t>(type))->bytes; }
int block_numbers(WeightType type) { return find_row(static_cast<std::uint32_t>(type))->numbers; }

}  // namespace qjl::engine
