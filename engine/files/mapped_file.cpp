// mmap of a whole file. The descriptor is closed at once: a map keeps its file by itself.
#include "mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* operation) {
  throw Error(ErrorKind::io,
              "[open] " + path.string() + ": " + operation + " found '" + std::strerror(errno) + "', wanted a readable file");
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, "open");
  struct stat info{};
  if (::fstat(file.fd, &info) != 0) fail(path, "stat");
  if (!S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::bad_file, "[open] " + path.string() + ": found a directory or device, wanted a regular file");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return;  // mmap refuses an empty range; an empty span says the same
  void* map = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (map == MAP_FAILED) fail(path, "mmap");
  bytes_ = {static_cast<const std::byte*>(map), size};
}

void MappedFile::forget(std::span<const std::byte> part) const {
  if (part.data() < bytes_.data() || part.data() >= bytes_.data() + bytes_.size()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(part.data());
  const std::uintptr_t skipped = (page - address % page) % page;
  if (part.size() < skipped + page) return;
  const std::size_t whole = (part.size() - skipped) / page * page;
  ::madvise(const_cast<std::byte*>(part.data() + skipped), whole, MADV_DONTNEED);  // only a wish: where it fails, the pages stay
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace qjl::engine
