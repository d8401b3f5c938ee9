// What the parser asks about a tensor type number before it is known to be a WeightType.
#pragma once

#include <cstdint>
#include <string>

namespace qjl::engine {

bool known_weight_type(std::uint32_t number);
std::string ggml_type_name(std::uint32_t number);  // of any ggml type, for messages
std::string known_weight_types();                  // "F32, F16, ..."

}  // namespace qjl::engine
