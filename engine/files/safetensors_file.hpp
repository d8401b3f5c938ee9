// A safetensors file of weights: what its header says of each tensor, checked against the file, and the bytes where they are mapped.
//
//   [u64 length of the header] [header: JSON, padded with spaces] [data: tensors, no byte between them]
//   {"__metadata__": {...}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//
// Source: huggingface.co/docs/safetensors, "Format". The library has a reader of saved caches, which engine does not see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qjl::engine {

struct SafeTensor {
  std::string name;
  std::string dtype;  // as the file says: F32, F16, BF16, U8 ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

// Tensors by name; their data are views of `bytes`. Memory taken is a small multiple of the header. Errors: bad_file on anything that
// the format does not allow: a header that does not fit, a shape whose bytes are others, tensors outside the file, over each other, or
// with bytes between them.
std::vector<SafeTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace qjl::engine
