// A cursor over untrusted bytes: it never reads past the end, and no count is believed before the bytes for it are known to be
// there.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace qjl::engine {

class ByteCursor {
 public:
  ByteCursor(std::span<const std::byte> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  // One little-endian number. `what` names the field in the error: bad_file with bytes wanted and left.
  template <typename T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  // The next `size` bytes.
  std::span<const std::byte> take(std::uint64_t size, std::string_view what);

  // A count of things that take at least `least_bytes` each. Errors: bad_file when that many do not fit in what is left.
  std::size_t read_count(std::uint64_t least_bytes, std::string_view what);

  // A 64-bit length and its bytes; points into the file.
  std::string_view read_text(std::uint64_t longest, std::string_view what);

  // bad_file: "[gguf] NAME at byte P: WHAT: found FOUND, wanted WANTED".
  [[noreturn]] void fail(std::string_view what, std::string_view found, std::string_view wanted) const;

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
  std::size_t position_ = 0;
  std::size_t field_ = 0;  // where the last field began, for messages
};

}  // namespace qjl::engine
