// The header of a .npy file is a Python dictionary: read by hand, field by field, without recursion.
#include "npy.hpp"

#include <charconv>
#include <cstring>
#include <memory>

#include "files.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::string_view kShape = "'shape': (";

struct NpyParts {
  std::string_view header;  // its dictionary
  std::string_view numbers;
};

// Empty where there is no header.
NpyParts parts_of(std::string_view bytes) {
  // Where the header begins: its length has 2 bytes in version 1 and 4 in version 2.
  constexpr std::size_t kBriefStart = 10, kStart = 12;
  if (!bytes.starts_with(kMagic) || bytes.size() < kStart) return {};
  const bool brief = bytes[6] == 1;
  std::uint32_t length{};
  std::memcpy(&length, bytes.data() + 8, brief ? 2 : 4);
  const std::size_t begin = brief ? kBriefStart : kStart;
  if (length > bytes.size() - begin) return {};
  return {bytes.substr(begin, length), bytes.substr(begin + length)};
}

// The text between the brackets of the shape; the bracket that closes it is part of it, so an empty text is no shape.
std::string_view shape_text(std::string_view header) {
  const std::size_t at = header.find(kShape);
  if (at == std::string_view::npos) return {};
  const std::string_view text = header.substr(at + kShape.size());
  return text.substr(0, text.find(')') + 1);
}

}  // namespace

NpyArray parse_npy(std::string_view bytes, const std::string& name) {
  const auto refuse = [&](const char* what) {
    throw Error(ErrorKind::bad_file, "[npy] found " + std::string(what) + " in " + name + ", wanted an fp32 array in C order");
  };
  const auto [header, numbers] = parts_of(bytes);
  if (header.find("'<f4'") == std::string_view::npos) refuse("another format");
  if (header.find("'fortran_order': False") == std::string_view::npos) refuse("columns first");
  std::string_view shape = shape_text(header);
  if (shape.empty()) refuse("no shape");
  NpyArray array;
  std::size_t size = sizeof(float);  // of the numbers that the shape says, in bytes
  for (;;) {
    while (shape.front() == ',' || shape.front() == ' ') shape.remove_prefix(1);
    if (shape.front() == ')') break;
    std::int64_t extent{};
    const auto [end, error] = std::from_chars(shape.data(), std::to_address(shape.end()), extent);
    if (error != std::errc() || extent < 0) refuse("no shape");
    if (__builtin_mul_overflow(size, extent, &size)) refuse("a shape beyond any memory");
    array.shape.push_back(extent);
    shape.remove_prefix(static_cast<std::size_t>(end - shape.data()));
  }
  if (numbers.size() != size) refuse("another number of bytes than its shape says");
  array.numbers.resize(size / sizeof(float));
  std::memcpy(array.numbers.data(), numbers.data(), size);
  return array;
}

NpyArray read_npy(const std::string& path) { return parse_npy(read_text(path), path); }

}  // namespace qjl::cli
