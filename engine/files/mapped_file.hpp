// A whole file, read-only, as one span of bytes: the pages of the file itself, loaded when they are first touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace qjl::engine {

class MappedFile {
 public:
  // Errors: io with the reason of the operating system; bad_file when it is not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  // Gives back the memory of the whole pages inside `part`, which was read and will hardly be again; a read loads them once more.
  // Does nothing where `part` is not of this file.
  void forget(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace qjl::engine
