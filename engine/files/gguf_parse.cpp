// The GGUF format, version 2 and 3:
//
//   magic "GGUF", u32 version, u64 tensors, u64 keys
//   keys times:     text key, u32 kind, value            text = u64 length, bytes
//   tensors times:  text name, u32 dims, u64 size[dims] (innermost first), u32 type, u64 offset
//   padding to general.alignment (default 32), then the tensor data; offsets count from here
//
// A file is refused when any of it points outside, repeats or overlaps, so that later code can trust shapes and spans.
#include "gguf_parse.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "gguf_reader.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

enum class Kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

constexpr std::uint64_t kLongestKey = 65535;                                       // of the format
constexpr std::uint64_t kLongestTensorName = 64;                                   // of the format
constexpr std::uint64_t kLongestText = std::numeric_limits<std::uint64_t>::max();  // the file's end bounds it
constexpr std::uint64_t kLeastKeyBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr std::uint64_t kDefaultAlignment = 32;

std::int64_t narrow(const ByteCursor& cursor, std::uint64_t number, std::string_view what) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    cursor.fail(what, std::to_string(number), "a number below 2^63");
  }
  return static_cast<std::int64_t>(number);
}

bool read_boolean(ByteCursor& cursor, std::string_view what) {
  const auto byte = cursor.read<std::uint8_t>(what);
  if (byte > 1) cursor.fail(what, "a boolean of " + std::to_string(byte), "0 or 1");
  return byte == 1;
}

// Reads `count` numbers of type T that are known to fit, widened to Wide.
template <typename T, typename Wide>
std::vector<Wide> read_numbers(ByteCursor& cursor, std::string_view what) {
  const std::size_t count = cursor.read_count(sizeof(T), what);
  std::vector<Wide> out(count);
  for (Wide& number : out) {
    const T value = cursor.read<T>(what);
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      number = narrow(cursor, value, what);
    } else {
      number = static_cast<Wide>(value);
    }
  }
  return out;
}

std::vector<std::int64_t> read_booleans(ByteCursor& cursor, std::string_view what) {
  std::vector<std::int64_t> out(cursor.read_count(1, what));
  for (std::int64_t& number : out) number = read_boolean(cursor, what) ? 1 : 0;
  return out;
}

std::vector<std::string> read_texts(ByteCursor& cursor, std::string_view what) {
  std::vector<std::string> out(cursor.read_count(8, what));
  for (std::string& text : out) text = cursor.read_text(kLongestText, what);
  return out;
}

FileValue read_array(ByteCursor& cursor, std::string_view what) {
  using Integer = std::int64_t;
  const auto kind = cursor.read<std::uint32_t>(what);
  switch (static_cast<Kind>(kind)) {
    case Kind::u8: return read_numbers<std::uint8_t, Integer>(cursor, what);
    case Kind::i8: return read_numbers<std::int8_t, Integer>(cursor, what);
    case Kind::u16: return read_numbers<std::uint16_t, Integer>(cursor, what);
    case Kind::i16: return read_numbers<std::int16_t, Integer>(cursor, what);
    case Kind::u32: return read_numbers<std::uint32_t, Integer>(cursor, what);
    case Kind::i32: return read_numbers<std::int32_t, Integer>(cursor, what);
    case Kind::u64: return read_numbers<std::uint64_t, Integer>(cursor, what);
    case Kind::i64: return read_numbers<std::int64_t, Integer>(cursor, what);
    case Kind::f32: return read_numbers<float, double>(cursor, what);
    case Kind::f64: return read_numbers<double, double>(cursor, what);
    case Kind::boolean: return read_booleans(cursor, what);
    case Kind::text: return read_texts(cursor, what);
    case Kind::array: break;
  }
  cursor.fail(what, "an array of kind " + std::to_string(kind), "numbers, booleans or texts (no nested arrays)");
}

FileValue read_value(ByteCursor& cursor, std::string_view what) {
  const auto kind = cursor.read<std::uint32_t>(what);
  switch (static_cast<Kind>(kind)) {
    case Kind::u8: return std::uint64_t{cursor.read<std::uint8_t>(what)};
    case Kind::i8: return std::int64_t{cursor.read<std::int8_t>(what)};
    case Kind::u16: return std::uint64_t{cursor.read<std::uint16_t>(what)};
    case Kind::i16: return std::int64_t{cursor.read<std::int16_t>(what)};
    case Kind::u32: return std::uint64_t{cursor.read<std::uint32_t>(what)};
    case Kind::i32: return std::int64_t{cursor.read<std::int32_t>(what)};
    case Kind::u64: return cursor.read<std::uint64_t>(what);
    case Kind::i64: return cursor.read<std::int64_t>(what);
    case Kind::f32: return double{cursor.read<float>(what)};
    case Kind::f64: return cursor.read<double>(what);
    case Kind::boolean: return read_boolean(cursor, what);
    case Kind::text: return std::string(cursor.read_text(kLongestText, what));
    case Kind::array: return read_array(cursor, what);
  }
  cursor.fail(what, "a value of kind " + std::to_string(kind), "0 to 12");
}

struct Counts {
  std::size_t tensors, keys;
};

Counts read_header(ByteCursor& cursor) {
  const auto magic = cursor.take(4, "magic");
  const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (text != "GGUF") cursor.fail("magic", printable(text), "'GGUF'");
  const auto version = cursor.read<std::uint32_t>("version");
  if (version >= 1u << 16)
    cursor.fail("version", "a big-endian file or version " + std::to_string(version), "little-endian 2 or 3");
  if (version != 2 && version != 3) cursor.fail("version", std::to_string(version), "2 or 3");
  const std::size_t tensors = cursor.read_count(kLeastTensorBytes, "tensor count");
  return {.tensors = tensors, .keys = cursor.read_count(kLeastKeyBytes, "key count")};
}

void read_keys(ByteCursor& cursor, std::size_t count, GgufParts& parts) {
  parts.keys.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view key = cursor.read_text(kLongestKey, "key " + std::to_string(i));
    if (key.empty()) cursor.fail("key " + std::to_string(i), "an empty name", "a name");
    const std::string what = "key " + printable(key);
    if (parts.values.contains(key)) cursor.fail(what, "it twice", "unique keys");
    parts.values.emplace(key, read_value(cursor, what));
    parts.keys.emplace_back(key);
  }
}

std::uint64_t read_alignment(const ByteCursor& cursor, const GgufParts& parts) {
  const auto at = parts.values.find("general.alignment");
  if (at == parts.values.end()) return kDefaultAlignment;
  const auto* alignment = std::get_if<std::uint64_t>(&at->second);
  if (alignment == nullptr) cursor.fail("general.alignment", "another kind", "an unsigned integer");
  if (*alignment < 8 || *alignment > (1u << 20) || !std::has_single_bit(*alignment)) {
    cursor.fail("general.alignment", std::to_string(*alignment), "a power of two from 8 to 2^20");
  }
  return *alignment;
}

// The dims and the type of a tensor; its size in bytes is returned.
std::uint64_t read_shape(ByteCursor& cursor, const std::string& what, FileTensor& tensor) {
  const auto dims = cursor.read<std::uint32_t>(what);
  if (dims < 1 || dims > 4) cursor.fail(what, std::to_string(dims) + " dimensions", "1 to 4");
  std::uint64_t numbers = 1;
  for (std::uint32_t d = 0; d < dims; ++d) {
    const std::int64_t size = narrow(cursor, cursor.read<std::uint64_t>(what), what);
    if (size < 1) cursor.fail(what, "a dimension of 0", "at least 1");
    // 2^56 numbers of any type stay below 2^63 bytes, so nothing after this can overflow.
    if (__builtin_mul_overflow(numbers, static_cast<std::uint64_t>(size), &numbers) || numbers > (std::uint64_t{1} << 56)) {
      cursor.fail(what, "more than 2^56 numbers", "a tensor that fits in the file");
    }
    tensor.shape.insert(tensor.shape.begin(), size);
  }
  const auto type = cursor.read<std::uint32_t>(what);
  if (!known_weight_type(type)) {
    throw Error(ErrorKind::unsupported,
                "[gguf] " + what + ": found type " + ggml_type_name(type) + ", wanted one of " + known_weight_types());
  }
  tensor.type = static_cast<WeightType>(type);
  const auto block = static_cast<std::uint64_t>(block_numbers(tensor.type));
  const auto columns = static_cast<std::uint64_t>(tensor.shape.back());
  if (columns % block != 0) {
    cursor.fail(what, std::to_string(columns) + " columns of " + ggml_type_name(type), "a multiple of " + std::to_string(block));
  }
  return numbers / block * static_cast<std::uint64_t>(block_bytes(tensor.type));
}

// Where a tensor lies, counted from the start of the data.
struct Extent {
  std::uint64_t offset, size;
};

std::vector<Extent> read_tensors(ByteCursor& cursor, std::size_t count, std::uint64_t alignment, GgufParts& parts) {
  std::vector<Extent> extents(count);
  parts.tensors.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    FileTensor& tensor = parts.tensors[i];
    tensor.name = cursor.read_text(kLongestTensorName, "name of tensor " + std::to_string(i));
    const std::string what = "tensor " + printable(tensor.name);
    if (tensor.name.empty()) cursor.fail("name of tensor " + std::to_string(i), "nothing", "a name");
    if (!parts.tensor_index.emplace(tensor.name, i).second) cursor.fail(what, "it twice", "unique tensors");
    extents[i].size = read_shape(cursor, what, tensor);
    extents[i].offset = cursor.read<std::uint64_t>(what);
    if (extents[i].offset % alignment != 0) {
      cursor.fail(what, "offset " + std::to_string(extents[i].offset), "a multiple of " + std::to_string(alignment));
    }
  }
  return extents;
}

// Tensors lie inside the file and do not overlap: their bytes together are no more than the file's.
void place_tensors(ByteCursor& cursor, std::span<const std::byte> data, const std::vector<Extent>& extents, GgufParts& parts) {
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const auto [offset, size] = extents[i];
    if (offset > data.size() || size > data.size() - offset) {
      cursor.fail("tensor " + printable(parts.tensors[i].name),
                  std::to_string(size) + " bytes at " + std::to_string(offset) + " of " + std::to_string(data.size()),
                  "data inside the file");
    }
    parts.tensors[i].data = data.subspan(offset, size);
  }
  std::vector<std::size_t> order(extents.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return extents[a].offset < extents[b].offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const Extent& before = extents[order[i - 1]];
    if (before.offset + before.size > extents[order[i]].offset) {
      cursor.fail("tensor " + printable(parts.tensors[order[i]].name),
                  "data shared with " + printable(parts.tensors[order[i - 1]].name), "tensors that do not overlap");
    }
  }
}

}  // namespace

GgufParts parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  ByteCursor cursor(bytes, name);
  const Counts counts = read_header(cursor);
  GgufParts parts;
  read_keys(cursor, counts.keys, parts);
  const std::uint64_t alignment = read_alignment(cursor, parts);
  const std::vector<Extent> extents = read_tensors(cursor, counts.tensors, alignment, parts);
  const std::size_t start = std::min(bytes.size(), (cursor.position() + alignment - 1) / alignment * alignment);
  place_tensors(cursor, bytes.subspan(start), extents, parts);
  return parts;
}

}  // namespace qjl::engine
