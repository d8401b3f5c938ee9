// parse_safetensors: nothing that the header says is believed before the file's own size has borne it out.
#include "safetensors_file.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "printable.hpp"
#include "read_json.hpp"

namespace qjl::engine {
namespace {

constexpr std::uint64_t kLengthBytes = sizeof(std::uint64_t), kMostHeaderBytes = 100'000'000;  // of the format
constexpr std::size_t kMostDims = 8;

constexpr std::pair<std::string_view, int> kTypeBytes[] = {
    {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
    {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},     {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8},
};

// A count or offset that fits 63 bits.
std::int64_t whole(const FileJson& value, const std::string& file, const std::string& what) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >> 63 != 0)
    refuse_json(file, what + " of " + json_text(value), "a whole number below 2^63");
  return value.get<std::int64_t>();
}

std::int64_t bytes_of(const SafeTensor& tensor, const std::string& file) {
  const auto* row = std::ranges::find(kTypeBytes, tensor.dtype, &std::pair<std::string_view, int>::first);
  if (row == std::end(kTypeBytes))
    refuse_json(file, "tensor " + printable(tensor.name) + " of type " + printable(tensor.dtype), "F32, F16 or BF16");
  std::int64_t bytes = row->second;
  for (const std::int64_t extent : tensor.shape) {
    if (extent == 0 || __builtin_mul_overflow(bytes, extent, &bytes))
      refuse_json(file, "an extent of " + std::to_string(extent) + " in tensor " + printable(tensor.name),
                  "a shape that a file holds");
  }
  return bytes;
}

SafeTensor read_tensor(const std::string& name, const FileJson& fields, std::span<const std::byte> data, const std::string& file) {
  const std::string what = "tensor " + printable(name);
  const FileJson *shape = find_json(fields, "shape"), *offsets = find_json(fields, "data_offsets");
  if (shape == nullptr || !shape->is_array() || offsets == nullptr || !offsets->is_array() || offsets->size() != 2) {
    refuse_json(file, what + " without its fields", "dtype, shape and data_offsets [begin, end]");
  }
  SafeTensor tensor{name, json_text_or_empty(fields, "dtype", file), {}, {}};
  if (shape->size() > kMostDims) refuse_json(file, what + " of " + std::to_string(shape->size()) + " dimensions", "at most 8");
  for (const FileJson& extent : *shape) tensor.shape.push_back(whole(extent, file, "an extent of " + what));
  const std::int64_t begin = whole((*offsets)[0], file, "an offset of " + what),
                     end = whole((*offsets)[1], file, "an offset of " + what);
  if (begin > end || end > std::ssize(data)) {
    refuse_json(file,
                what + " at bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " + std::to_string(data.size()),
                "data inside the file (is it whole?)");
  }
  if (const std::int64_t wanted = bytes_of(tensor, file); wanted != end - begin) {
    refuse_json(file, what + " of " + std::to_string(end - begin) + " bytes", std::to_string(wanted) + " by its type and shape");
  }
  tensor.data = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  return tensor;
}

// In the order of their bytes each begins where the one before it ends, and the last ends with the file.
void check_places(const std::vector<SafeTensor>& tensors, std::span<const std::byte> data, const std::string& file) {
  std::vector<const SafeTensor*> order;
  order.reserve(tensors.size());
  for (const SafeTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, [](const SafeTensor* tensor) { return tensor->data.data(); });
  const std::byte* next = data.data();
  for (const SafeTensor* tensor : order) {
    if (tensor->data.data() != next) {
      refuse_json(file, "tensor " + printable(tensor->name) + " at byte " + std::to_string(tensor->data.data() - data.data()),
                  std::to_string(next - data.data()) + ", where the one before it ends");
    }
    next += tensor->data.size();
  }
  if (next != data.data() + data.size()) {
    refuse_json(file, std::to_string(data.size()) + " bytes of data",
                std::to_string(next - data.data()) + ", those of the tensors");
  }
}

}  // namespace

std::vector<SafeTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kLengthBytes) refuse_json(name, std::to_string(bytes.size()) + " bytes", "a safetensors file");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMostHeaderBytes || length > bytes.size() - kLengthBytes) {
    refuse_json(name, "a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(bytes.size()),
                "one inside the file and at most " + std::to_string(kMostHeaderBytes) + " (is it a safetensors file, and whole?)");
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + length);
  std::vector<SafeTensor> tensors;
  const FileJson json = parse_json_object(header, name);
  for (const auto& [tensor, fields] : json.items()) {
    if (tensor != "__metadata__") tensors.push_back(read_tensor(tensor, fields, data, name));
  }
  check_places(tensors, data, name);
  return tensors;
}

}  // namespace qjl::engine
