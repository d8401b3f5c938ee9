// A safetensors file: what its header says, read and written.
//
//   [u64 length of the header] [header: JSON, padded with spaces] [data: tensors one after the other, no byte between them]
//   {"__metadata__": {"word": "text", ...}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//
// Source: huggingface.co/docs/safetensors, "Format"; its library refuses holes, overlaps and headers above 100 MB, as here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qjl {

enum class FileType : std::uint8_t { u8, i64, f32, f16, bf16 };
std::string_view file_type_name(FileType type);  // "U8", "I64" ...
int file_type_bytes(FileType type);

struct StoredTensor {
  std::string name;
  FileType type = FileType::u8;
  std::vector<std::int64_t> shape = {};
  std::int64_t begin = 0, end = 0;  // bytes of the file
  std::int64_t bytes() const { return end - begin; }
};

// Bytes of a tensor. Errors: bad_file when they do not fit 63 bits.
std::int64_t tensor_bytes(FileType type, std::span<const std::int64_t> shape);

struct Safetensors {
  std::map<std::string, std::string> words;  // the metadata
  std::vector<StoredTensor> tensors;         // in the order of their bytes
};

// Where the tensors stand, in their order, and the bytes before them: length and header, a multiple of `alignment`.
std::string place_tensors(Safetensors& file, std::int64_t alignment);

// Errors: bad_file on what the format does not allow, and on tensors of other types.
Safetensors read_safetensors(std::span<const std::byte> file);

}  // namespace qjl
