// Bytes of a GGUF file to its parts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model_file.hpp"

namespace qjl::engine {

struct GgufParts {
  std::vector<std::string> keys;  // in file order
  std::map<std::string, FileValue, std::less<>> values;
  std::vector<FileTensor> tensors;  // in file order
  std::map<std::string, std::size_t, std::less<>> tensor_index;
};

// Tensor data points into `bytes`. Memory taken is a small multiple of bytes.size() (tested), whatever they say.
// Errors: bad_file, unsupported.
GgufParts parse_gguf(std::span<const std::byte> bytes, const std::string& name);

}  // namespace qjl::engine
