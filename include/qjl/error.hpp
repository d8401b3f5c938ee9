// The one exception type of the library. The text names the operation, what was found and what was wanted:
// "[attend] queries have head_dim 96, the cache was made for 128".
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace qjl {

enum class ErrorKind : std::uint8_t {
  invalid_argument,  // the caller gave a wrong shape, number, name or identifier
  out_of_pages,      // the page pool is full; nothing was changed
  bad_file,          // a file is truncated, corrupted or not of the format that it claims
  io,                // the operating system refused to open, read or write
  unsupported,       // valid, but outside what this build or version can do
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace qjl
