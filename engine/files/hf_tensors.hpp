// Tensors of a folder of Hugging Face under the names, in the shapes and in the layouts of GGUF.
//
//   model.layers.3.self_attn.q_proj.weight   ->   blk.3.attn_q.weight
//
// Most stay where they are mapped. What GGUF holds otherwise is made anew, in memory of its own: norms that multiply by 1 + w, slopes
// that stand as logarithms, divisors of RoPE, experts that stand column by column or in blocks of MXFP4, and tensors at an address that
// their numbers do not divide.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "hf_config.hpp"
#include "model_file.hpp"
#include "safetensors_file.hpp"

namespace qjl::engine {

struct HfTensors {
  std::vector<FileTensor> tensors;
  std::vector<std::vector<std::byte>> made;  // the bytes of those that are not mapped
};

// What no text model needs is left out: pictures' parts, an output matrix beside tied embeddings, frequencies of RoPE. A tensor that no
// rule knows keeps its name, so that the model refuses it. Errors: bad_file on a name twice or a shape that is none of its kind,
// unsupported on numbers other than F32, F16 and BF16 (names the tensor).
HfTensors read_hf_tensors(std::span<const SafeTensor> stored, const HfConfig& config);

}  // namespace qjl::engine
