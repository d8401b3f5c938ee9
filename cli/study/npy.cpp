// The header of a .npy file is a Python dictionary: read by hand, field by field, without recursion.
#include "npy.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "files.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::string_view kShape = "'shape': (";

// The header's dictionary, and where the numbers begin.
std::string_view read_header(std::string_view bytes, std::size_t& data_begin) {
  if (!bytes.starts_with(kMagic) || bytes.size() < 12) return {};
  const bool brief = bytes[6] == 1;  // the length is 2 bytes in version 1, 4 in version 2
  std::uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, brief ? 2 : 4);
  const std::size_t begin = brief ? 10 : 12;
  if (length > bytes.size() - begin) return {};
  data_begin = begin + length;
  return bytes.substr(begin, length);
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
  std::size_t begin = 0;
  const std::string_view header = read_header(bytes, begin);
  if (header.find("'<f4'") == std::string_view::npos) refuse("another format");
  if (header.find("'fortran_order': False") == std::string_view::npos) refuse("columns first");
  std::string_view shape = shape_text(header);
  if (shape.empty()) refuse("no shape");
  NpyArray array;
  std::size_t count = 1;
  for (;;) {
    while (shape.front() == ',' || shape.front() == ' ') shape.remove_prefix(1);
    if (shape.front() == ')') break;
    std::size_t extent = 0;
    const auto [end, error] = std::from_chars(shape.data(), shape.data() + shape.size(), extent);
    if (error != std::errc()) refuse("no shape");
    if (extent > bytes.size() / std::max<std::size_t>(count, 1)) refuse("fewer numbers than its shape says");
    array.shape.push_back(static_cast<std::int64_t>(extent));
    count *= extent;
    shape.remove_prefix(static_cast<std::size_t>(end - shape.data()));
  }
  if (bytes.size() - begin != count * sizeof(float)) refuse("another number of bytes than its shape says");
  array.numbers.resize(count);
  std::memcpy(array.numbers.data(), bytes.data() + begin, count * sizeof(float));
  return array;
}

NpyArray read_npy(const std::string& path) { return parse_npy(read_text(path), path); }

}  // namespace qjl::cli
