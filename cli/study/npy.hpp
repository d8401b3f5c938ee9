// Arrays of NumPy's .npy files, format version 1 or 2, little-endian fp32, C order: what captured tensors come in.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qjl::cli {

struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<float> numbers;
};

// Errors: qjl::Error io, bad_file on anything but fp32 in C order with as many numbers as the shape says.
NpyArray read_npy(const std::string& path);
// The same for the bytes of a file; `name` is for messages.
NpyArray parse_npy(std::string_view bytes, const std::string& name);

}  // namespace qjl::cli
