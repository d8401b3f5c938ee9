// The checks of the cursor. Every comparison is of the form `wanted > remaining`, which cannot overflow.
#include "gguf_reader.hpp"

#include <bit>

#include "qjl/error.hpp"

namespace qjl::engine {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie in the file");

std::span<const std::byte> ByteCursor::take(std::uint64_t size, std::string_view what) {
  field_ = position_;
  if (size > remaining()) fail(what, std::to_string(remaining()) + " bytes left", std::to_string(size));
  const auto out = bytes_.subspan(position_, static_cast<std::size_t>(size));
  position_ += out.size();
  return out;
}

std::size_t ByteCursor::read_count(std::uint64_t least_bytes, std::string_view what) {
  const auto count = read<std::uint64_t>(what);
  if (count > remaining() / least_bytes) {
    fail(what, "a count of " + std::to_string(count),
         "at most " + std::to_string(remaining() / least_bytes) + " for the bytes left");
  }
  return static_cast<std::size_t>(count);
}

std::string_view ByteCursor::read_text(std::uint64_t longest, std::string_view what) {
  const auto size = read<std::uint64_t>(what);
  if (size > longest) fail(what, "a text of " + std::to_string(size) + " bytes", "at most " + std::to_string(longest));
  const auto bytes = take(size, what);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void ByteCursor::fail(std::string_view what, std::string_view found, std::string_view wanted) const {
  std::string message = "[gguf] " + name_ + " at byte " + std::to_string(field_) + ": ";
  message.append(what).append(": found ").append(found).append(", wanted ").append(wanted);
  throw Error(ErrorKind::bad_file, message);
}

}  // namespace qjl::engine
