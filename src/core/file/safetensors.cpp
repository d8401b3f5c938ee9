// The header of a safetensors file. Nothing that it says is believed: every tensor must lie in the file, have the bytes of its shape
// and begin where the one before it ends.
#include "safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "header_text.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kLengthBytes = sizeof(std::uint64_t), kMostHeaderBytes = 100'000'000;
constexpr const char* kMetadata = "__metadata__";
constexpr FileType kTypes[] = {FileType::u8, FileType::i64, FileType::f32, FileType::f16, FileType::bf16};

FileType type_of(const std::string& name) {
  std::string known;
  for (const FileType type : kTypes) {
    if (file_type_name(type) == name) return type;
    known += (known.empty() ? "" : ", ") + std::string(file_type_name(type));
  }
  refuse_file("found a tensor of type ", quoted(name), ", wanted ", known);
}

std::map<std::string, std::string> read_words(HeaderCursor& cursor) {
  std::map<std::string, std::string> words;
  cursor.object([&](const std::string& name) {
    if (!words.emplace(name, cursor.string()).second) refuse_file("found ", quoted(name), " twice in the metadata, wanted it once");
  });
  return words;
}

// Offsets count from the data, as the header has them.
StoredTensor read_tensor(HeaderCursor& cursor, const std::string& name) {
  StoredTensor tensor{.name = name};
  std::set<std::string> seen;
  std::vector<std::int64_t> offsets;
  cursor.object([&](const std::string& field) {
    seen.insert(field);
    if (field == "dtype") {
      tensor.type = type_of(cursor.string());
    } else if (field == "shape") {
      tensor.shape = cursor.whole_numbers();
    } else if (field == "data_offsets") {
      offsets = cursor.whole_numbers();
    } else {
      refuse_file("tensor ", quoted(name), " has the field ", quoted(field), ", wanted dtype, shape and data_offsets");
    }
  });
  if (seen.size() != 3 || offsets.size() != 2 || offsets[0] > offsets[1]) {
    refuse_file("tensor ", quoted(name), " has ", seen.size(), " fields and ", offsets.size(),
                " offsets, wanted dtype, shape and data_offsets [begin, end]");
  }
  tensor.begin = offsets[0], tensor.end = offsets[1];
  if (const std::int64_t wanted = tensor_bytes(tensor.type, tensor.shape); tensor.bytes() != wanted) {
    refuse_file("tensor ", quoted(name), " has ", tensor.bytes(), " bytes, wanted ", wanted, " by its type and shape");
  }
  return tensor;
}

std::string header_text(const Safetensors& file) {
  std::string text = "{" + quoted(kMetadata) + ":{";
  for (const auto& [name, word] : file.words) text += (text.back() == '{' ? "" : ",") + quoted(name) + ":" + quoted(word);
  text += '}';
  for (const StoredTensor& tensor : file.tensors) {
    text += "," + quoted(tensor.name) + ":{\"dtype\":" + quoted(file_type_name(tensor.type)) + ",\"shape\":[";
    for (const std::int64_t extent : tensor.shape) text += (text.back() == '[' ? "" : ",") + std::to_string(extent);
    text += "],\"data_offsets\":[" + std::to_string(tensor.begin) + "," + std::to_string(tensor.end) + "]}";
  }
  return text + '}';
}

}  // namespace

std::string_view file_type_name(FileType type) {
  switch (type) {
    case FileType::u8: return "U8";
    case FileType::i64: return "I64";
    case FileType::f32: return "F32";
    case FileType::f16: return "F16";
    case FileType::bf16: return "BF16";
  }
  return "unknown";
}

int file_type_bytes(FileType type) {
  switch (type) {
    case FileType::u8: return 1;
    case FileType::i64: return 8;
    case FileType::f32: return 4;
    case FileType::f16:
    case FileType::bf16: return 2;
  }
  return 0;
}

std::int64_t tensor_bytes(FileType type, std::span<const std::int64_t> shape) {
  std::int64_t bytes = file_type_bytes(type);
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      refuse_file("found a tensor that no memory holds, wanted less than 2^63 bytes");
  }
  return bytes;
}

std::string place_tensors(Safetensors& file, std::int64_t alignment) {
  std::int64_t end = 0;
  for (StoredTensor& tensor : file.tensors) {
    tensor.begin = end;
    end += tensor_bytes(tensor.type, tensor.shape);
    tensor.end = end;
  }
  std::string text = header_text(file);
  const auto used = kLengthBytes + std::ssize(text), data = (used + alignment - 1) / alignment * alignment;
  text.append(static_cast<std::size_t>(data - used), ' ');
  const auto length = static_cast<std::uint64_t>(text.size());
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  for (StoredTensor& tensor : file.tensors) tensor.begin += data, tensor.end += data;
  return bytes + text;
}

Safetensors read_safetensors(std::span<const std::byte> file) {
  const std::int64_t size = std::ssize(file);
  if (size < kLengthBytes) refuse_file("found ", size, " bytes, wanted a header's length of ", kLengthBytes, " at least");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const auto most = static_cast<std::uint64_t>(std::min(size - kLengthBytes, kMostHeaderBytes));
  if (length < 2 || length > most) refuse_file("found a header of ", length, " bytes, wanted 2 to ", most);
  const auto* text = reinterpret_cast<const char*>(file.data() + kLengthBytes);
  HeaderCursor cursor({text, static_cast<std::size_t>(length)});
  Safetensors found;
  std::set<std::string> names;
  cursor.object([&](const std::string& name) {
    if (!names.insert(name).second) refuse_file("found ", quoted(name), " twice in the header, wanted it once");
    if (name == kMetadata) {
      found.words = read_words(cursor);
    } else {
      found.tensors.push_back(read_tensor(cursor, name));
    }
  });
  cursor.expect_end();
  std::ranges::sort(found.tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::int64_t end = 0;
  for (StoredTensor& tensor : found.tensors) {
    if (tensor.begin != end)
      refuse_file("tensor ", quoted(tensor.name), " begins at byte ", tensor.begin, " of the data, wanted ", end);
    end = tensor.end;
  }
  const std::int64_t data = kLengthBytes + static_cast<std::int64_t>(length);
  if (end != size - data) refuse_file("found ", size - data, " bytes of tensors, wanted ", end, " by the header");
  for (StoredTensor& tensor : found.tensors) tensor.begin += data, tensor.end += data;
  return found;
}

}  // namespace qjl
