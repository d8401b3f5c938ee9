// The shape of a model from the metadata of its GGUF file: general.architecture and the keys "<architecture>.*".
#pragma once

#include "gguf.hpp"
#include "model.hpp"

namespace qjl::engine {

// Errors: bad_file on a missing key or a number outside its range (found and wanted); unsupported on an architecture, a RoPE
// scaling or a mixture of experts that the engine does not run.
ModelConfig read_model_config(const GgufFile& file);

}  // namespace qjl::engine
