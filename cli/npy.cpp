#include "npy.hpp"

#include <cstring>
#include <regex>
#include <string_view>

#include "files.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

// The header's dictionary, and where the numbers begin.
std::string read_header(const std::string& bytes, std::size_t& data_begin) {
  if (!bytes.starts_with(kMagic) || bytes.size() < 12) return {};
  const bool brief = bytes[6] == 1;  // the length is 2 bytes in version 1, 4 in version 2
  std::uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, brief ? 2 : 4);
  const std::size_t begin = brief ? 10 : 12;
  if (length > bytes.size() - begin) return {};
  data_begin = begin + length;
  return bytes.substr(begin, length);
}

}  // namespace

NpyArray read_npy(const std::string& path) {
  const auto refuse = [&](const char* what) {
    throw Error(ErrorKind::bad_file, "[npy] found " + std::string(what) + " in " + path + ", wanted an fp32 array in C order");
  };
  const std::string bytes = read_text(path);
  std::size_t begin = 0;
  const std::string header = read_header(bytes, begin);
  if (header.find("'<f4'") == std::string::npos) refuse("another format");
  if (header.find("'fortran_order': False") == std::string::npos) refuse("columns first");
  std::smatch shape;
  if (!std::regex_search(header, shape, std::regex(R"('shape': \(([0-9, ]*)\))"))) refuse("no shape");
  NpyArray array;
  std::size_t count = 1;
  const std::string extents = shape[1];
  const std::regex number("[0-9]{1,9}");
  for (std::sregex_iterator it(extents.begin(), extents.end(), number), end; it != end; ++it) {
    array.shape.push_back(std::stoll(it->str()));
    count *= static_cast<std::size_t>(array.shape.back());
    if (count > bytes.size()) refuse("fewer numbers than its shape says");
  }
  if (bytes.size() - begin != count * sizeof(float)) refuse("another number of bytes than its shape says");
  array.numbers.resize(count);
  std::memcpy(array.numbers.data(), bytes.data() + begin, count * sizeof(float));
  return array;
}

}  // namespace qjl::cli
