// The table of families, by the alphabet. A row stands in the file of its name.
#include "architecture.hpp"

#include <array>
#include <string>

#include "qjl/error.hpp"

namespace qjl::engine {

extern const Architecture kGemma2, kGemma3, kGptOss, kGranite, kGraniteMoe, kLlama, kMistral3, kOlmo2, kPhi3, kQwen2, kQwen2Moe,
    kQwen3, kQwen3Moe, kSmollm3;

namespace {

constexpr std::array kArchitectures = {
    &kGemma2, &kGemma3, &kGptOss, &kGranite,  &kGraniteMoe, &kLlama,    &kMistral3,
    &kOlmo2,  &kPhi3,   &kQwen2,  &kQwen2Moe, &kQwen3,      &kQwen3Moe, &kSmollm3,
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
  throw Error(ErrorKind::unsupported, "[model] general.architecture is \"" + std::string(name) + "\", wanted " + all_names());
}

}  // namespace qjl::engine
