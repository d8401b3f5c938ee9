// Files by the system's own calls: the order write, fsync, rename, fsync of the folder is what makes a file whole.
#include "whole_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "fail.hpp"

namespace qjl {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr int kMostLinks = 40;          // as the system allows
constexpr mode_t kPermissions = 07777;  // of a file that is replaced, kept

// Where a link leads, so that it stays one. What is there and no plain file would be replaced: it is refused.
std::string plain_place(const std::string& path) {
  fs::path at = path;
  std::error_code error;
  for (int links = 0; fs::is_symlink(fs::symlink_status(at, error)) && links < kMostLinks; ++links) {
    const fs::path target = fs::read_symlink(at, error);
    if (error) break;
    at = target.is_absolute() ? target : at.parent_path() / target;
  }
  const fs::file_status found = fs::symlink_status(at, error);
  if (fs::exists(found) && !fs::is_regular_file(found)) {
    fail(ErrorKind::io, "save_cache", path, ": found a folder, device or FIFO there, wanted a plain file or none");
  }
  return at.string();
}

}  // namespace

// The part comes last: what fails before it leaves nothing.
WholeFile::WholeFile(const std::string& path) : path_(plain_place(path)) {
  buffer_.reserve(kBufferBytes);
  sweep_stale_parts(path_);
  part_ = new_part(path_);
  if (part_.file < 0) fail_with("open");
}

WholeFile::~WholeFile() {
  if (part_.file < 0) return;
  ::unlink(part_.name.c_str());  // while it is still held: then the name is free for others
  ::close(part_.file);
}

void WholeFile::fail_with(const char* what) const {
  fail(ErrorKind::io, "save_cache", path_, ": ", what, " found '", std::strerror(errno), "', wanted a place to write");
}

void WholeFile::write(std::span<const std::byte> bytes) {
  written_ += std::ssize(bytes);
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void WholeFile::zeros(std::int64_t count) {
  const std::vector<std::byte> none(static_cast<std::size_t>(count));
  write(none);
}

void WholeFile::flush() {
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t count = ::write(part_.file, buffer_.data() + done, buffer_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with("write");
    done += static_cast<std::size_t>(count);
  }
  buffer_.clear();
}

void WholeFile::finish() {
  flush();
  struct stat before{};
  if (::stat(path_.c_str(), &before) == 0 && ::fchmod(part_.file, before.st_mode & kPermissions) != 0) fail_with("chmod");
  if (::fsync(part_.file) != 0) fail_with("fsync");
  if (std::rename(part_.name.c_str(), path_.c_str()) != 0) fail_with("rename");
  ::close(part_.file);
  part_.file = -1;
  // The name itself reaches the disk with its folder; where the system cannot tell, the file is whole all the same.
  const std::string folder = std::filesystem::absolute(path_).parent_path().string();
  if (const int at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); at >= 0) {
    ::fsync(at);
    ::close(at);
  }
}

OpenFile::OpenFile(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  const auto fail_with = [&](ErrorKind kind, const char* found) {
    if (file_ >= 0) ::close(file_);
    fail(kind, "load_cache", path, ": found '", found, "', wanted a readable file");
  };
  if (file_ < 0) fail_with(ErrorKind::io, std::strerror(errno));
  struct stat info{};
  if (::fstat(file_, &info) != 0) fail_with(ErrorKind::io, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail_with(ErrorKind::bad_file, "a folder or device");
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return;  // the system maps no empty range; an empty span says the same
  void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file_, 0);
  if (map == MAP_FAILED) fail_with(ErrorKind::io, std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(map), size};
}

OpenFile::~OpenFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(file_);
}

}  // namespace qjl
