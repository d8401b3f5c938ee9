// Anonymous private mappings. MAP_NORESERVE: the kernel does not count the range against its commit limit.
#include "mapping.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace qjl {

std::int64_t Mapping::os_page_bytes() {
  static const std::int64_t bytes = sysconf(_SC_PAGESIZE);
  return bytes;
}

Mapping::Mapping(std::int64_t bytes, Pages pages) {
  if (bytes == 0) return;
  const std::int64_t page = os_page_bytes(), rounded = (bytes + page - 1) / page * page;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* data = mmap(nullptr, static_cast<std::size_t>(rounded), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::uint8_t*>(data);
  bytes_ = rounded;
  // One write per page makes it resident. (MAP_POPULATE would do it in one call, but hides a failure.)
  if (pages == Pages::resident) std::memset(data_, 0, static_cast<std::size_t>(rounded));
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, static_cast<std::size_t>(bytes_));
}

Mapping::Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace qjl
