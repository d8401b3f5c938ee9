// Names of tensors: Hugging Face's to GGUF's.
#pragma once

#include <string>
#include <string_view>

#include "hf_families.hpp"

namespace qjl::engine {

// The name in GGUF; of an expert's own matrix "blk.L.ffn_gate.E.weight". Empty: nothing of a text model needs it. A name that no rule
// knows comes back as it is.
std::string gguf_tensor_name(std::string_view name, const HfFamily& family);

}  // namespace qjl::engine
