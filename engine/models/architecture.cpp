// The table of families, by the alphabet. A row stands in the file of its name.
#include "architecture.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>

#include "qjl/error.hpp"

namespace qjl::engine {

extern const Architecture kGemma2, kGemma3, kGptOss, kGranite, kGraniteMoe, kLlama, kMistral3, kOlmo2, kPhi3, kQwen2, kQwen2Moe,
    kQwen3, kQwen35, kQwen35Moe, kQwen3Moe, kSmollm3;

namespace {

constexpr std::array kArchitectures = {
    &kGemma2, &kGemma3, &kGptOss,   &kGranite, &kGraniteMoe, &kLlama,     &kMistral3, &kOlmo2,
    &kPhi3,   &kQwen2,  &kQwen2Moe, &kQwen3,   &kQwen35,     &kQwen35Moe, &kQwen3Moe, &kSmollm3,
};

// Families of which users ask why they are not here: what their layers have that no row can say.
struct Absent {
  std::string_view start, what;
};
constexpr std::string_view kRecurrent = "layers with a recurrent state of another kind than qwen35's";
constexpr std::string_view kLatent = "keys and values from a shared latent vector";
constexpr Absent kAbsent[] = {
    {"arwkv", kRecurrent},       {"bailingmoe3", kRecurrent}, {"deepseek2", kLatent},        {"deepseek32", kLatent},
    {"falcon-h1", kRecurrent},   {"glm-dsa", kLatent},        {"granitehybrid", kRecurrent}, {"jamba", kRecurrent},
    {"kimi-linear", kRecurrent}, {"lfm2", kRecurrent},        {"mamba", kRecurrent},         {"minicpm3", kLatent},
    {"nemotron_h", kRecurrent},  {"plamo2", kRecurrent},      {"qwen3next", kRecurrent},     {"rwkv", kRecurrent},
};

// "a, b or c"
std::string all_names() {
  std::string names;
  for (std::size_t i = 0; i < kArchitectures.size(); ++i) {
    names += i == 0 ? "" : i + 1 == kArchitectures.size() ? " or " : ", ";
    names += kArchitectures[i]->name;
  }
  return names;
}

}  // namespace

const Architecture& find_architecture(std::string_view name) {
  for (const Architecture* row : kArchitectures) {
    if (row->name == name) return *row;
  }
  const auto* absent = std::ranges::find_if(kAbsent, [name](const Absent& row) { return name.starts_with(row.start); });
  const std::string why = absent == std::end(kAbsent) ? "" : " (" + std::string(absent->what) + ")";
  throw Error(ErrorKind::unsupported,
              "[model] general.architecture is \"" + std::string(name) + "\"" + why + ", wanted " + all_names());
}

}  // namespace qjl::engine
