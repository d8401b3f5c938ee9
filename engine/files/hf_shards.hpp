// The weights of a folder: model.safetensors, or the files that model.safetensors.index.json names.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mapped_file.hpp"
#include "safetensors_file.hpp"

namespace qjl::engine {

struct HfWeights {
  std::vector<std::unique_ptr<MappedFile>> maps;
  std::vector<SafeTensor> tensors;  // of all files; data in the maps
};

// Tensor -> name of the file that has it. Errors: bad_file on anything but "weight_map" of plain names that end in .safetensors.
std::map<std::string, std::string> parse_shard_index(std::string_view text, const std::string& name);

// Errors: io when a file is missing (named); bad_file on a tensor that is not where the index says, or twice, and those of
// parse_safetensors.
HfWeights open_hf_weights(const std::filesystem::path& folder);

}  // namespace qjl::engine
