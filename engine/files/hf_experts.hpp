// Experts whose matrices stand in one tensor of a folder, in other layouts than GGUF's.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hf_config.hpp"
#include "model_file.hpp"
#include "safetensors_file.hpp"

namespace qjl::engine {

// Takes the tensors that it knows out of `stored` (by name) and hands each of its parts to `add`; bytes that are made anew are kept in
// `made`, whose elements do not move. Errors: bad_file on a shape that is none of the kind.
void read_hf_experts(std::map<std::string, const SafeTensor*>& stored, const HfConfig& config,
                     std::vector<std::vector<std::byte>>& made, const std::function<void(FileTensor)>& add);

// The type of a tensor's numbers. Errors: unsupported on others than F32, F16 and BF16.
WeightType weight_type_of(const SafeTensor& tensor);

}  // namespace qjl::engine
