// A file that is there whole or not at all: bytes go to a file of another name beside it, reach the disk, and take the name in one
// step. A link stays and its target is written; the mode of what was there stays. Whoever dies on the way leaves what was there before,
// and the other file until somebody writes this one again (stale_parts.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stale_parts.hpp"

namespace qjl {

class WholeFile {
 public:
  // Errors of all: io with the system's reason, and for what is there and no plain file.
  explicit WholeFile(const std::string& path);
  ~WholeFile();  // without finish(): nothing is left
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void zeros(std::int64_t count);
  std::int64_t written() const { return written_; }
  void finish();

 private:
  void flush();
  [[noreturn]] void fail_with(const char* what) const;

  std::string path_;
  Part part_;
  std::int64_t written_ = 0;
  std::vector<std::byte> buffer_;
};

// A file to read, mapped: its bytes are the page cache's. Nobody may write into it while it is mapped; WholeFile never does.
class OpenFile {
 public:
  // Errors: io, bad_file when it is no regular file.
  explicit OpenFile(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return file_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  int file_;
  std::span<const std::byte> bytes_;
};

}  // namespace qjl
