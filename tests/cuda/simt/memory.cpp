// Device memory of the host's threads.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "simt.hpp"

namespace qjl::simt {
namespace {

constexpr std::size_t kHuge = std::size_t{256} << 20;

struct {
  std::map<void*, std::size_t> mapped;  // blocks that are mappings of their own
  bool hidden = false;
  int at_work = 0;
} memory;

void protect(int access) {
  for (const auto& [at, bytes] : memory.mapped) mprotect(at, bytes, access);
}

}  // namespace

void* allocate(std::size_t bytes) {
  if (bytes <= kHuge && !memory.hidden) {
    const std::size_t rounded = (bytes + 255) / 256 * 256;
    void* at = std::aligned_alloc(256, rounded);
    if (at != nullptr) std::memset(at, 0xa5, rounded);  // what nobody wrote is noise
    return at;
  }
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  if (bytes <= kHuge) std::memset(at, 0xa5, bytes);
  memory.mapped[at] = bytes;
  if (memory.hidden) mprotect(at, bytes, PROT_NONE);
  return at;
}

void release(void* at) {
  const auto found = memory.mapped.find(at);
  if (found == memory.mapped.end()) return std::free(at);
  munmap(at, found->second);
  memory.mapped.erase(found);
}

void hide_from_host(bool hidden) {
  memory.hidden = hidden;
  protect(hidden ? PROT_NONE : PROT_READ | PROT_WRITE);
}

DeviceAtWork::DeviceAtWork() {
  if (memory.hidden && memory.at_work++ == 0) protect(PROT_READ | PROT_WRITE);
}
DeviceAtWork::~DeviceAtWork() {
  if (memory.hidden && --memory.at_work == 0) protect(PROT_NONE);
}

}  // namespace qjl::simt
