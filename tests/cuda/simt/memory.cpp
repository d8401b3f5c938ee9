// Device memory of the host's threads.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

#include "simt.hpp"

namespace qjl::simt {
namespace {

constexpr std::size_t kHuge = std::size_t{256} << 20;

struct Allocation {
  std::size_t bytes;
  bool mapped;  // a mapping of its own, which can be hidden
  int device;
};
struct {
  std::map<const std::uint8_t*, Allocation> blocks;
  bool hidden = false;
  int at_work = 0;
  std::map<const std::uint8_t*, std::size_t> pinned;
  bool put_off = false;
  std::vector<std::function<void()>> copies;  // that are put off
} memory;

void protect(int access) {
  for (const auto& [at, block] : memory.blocks) {
    if (block.mapped) mprotect(const_cast<std::uint8_t*>(at), block.bytes, access);
  }
}

void* take(std::size_t bytes, bool mapped) {
  if (!mapped) return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

}  // namespace

void* allocate(std::size_t bytes) {
  const bool huge = bytes > kHuge, mapped = huge || memory.hidden;
  void* at = take(bytes, mapped);
  if (at == nullptr) return nullptr;
  if (!huge) std::memset(at, 0xa5, bytes);  // what nobody wrote is noise
  memory.blocks[static_cast<const std::uint8_t*>(at)] = {bytes, mapped, current_device};
  if (memory.hidden) mprotect(at, bytes, PROT_NONE);
  return at;
}

void release(void* at) {
  if (at == nullptr) return;
  finish_copies();
  const auto found = memory.blocks.find(static_cast<const std::uint8_t*>(at));
  if (found == memory.blocks.end()) throw std::runtime_error("freed what is no device memory");
  if (found->second.mapped) {
    munmap(at, found->second.bytes);
  } else {
    std::free(at);
  }
  memory.blocks.erase(found);
}

int holder(const void* at) {
  auto after = memory.blocks.upper_bound(static_cast<const std::uint8_t*>(at));
  if (after == memory.blocks.begin()) return -1;
  const auto& [begin, block] = *--after;
  return static_cast<const std::uint8_t*>(at) < begin + block.bytes ? block.device : -1;
}

void copy(void* to, const void* from, std::size_t bytes) {
  const auto now = [=] {
    const DeviceAtWork work;
    std::memcpy(to, from, bytes);
  };
  const auto is_pinned = [](const void* at) {
    auto after = memory.pinned.upper_bound(static_cast<const std::uint8_t*>(at));
    if (after == memory.pinned.begin()) return false;
    --after;
    return static_cast<const std::uint8_t*>(at) < after->first + after->second;
  };
  if (memory.put_off && (holder(to) >= 0 || is_pinned(to)) && (holder(from) >= 0 || is_pinned(from))) {
    memory.copies.emplace_back(now);
    return;
  }
  finish_copies();
  now();
}
void put_off_copies(bool put_off) {
  finish_copies();
  memory.put_off = put_off;
}
void finish_copies() {
  for (const auto& each : memory.copies) each();
  memory.copies.clear();
}
void pin(void* at, std::size_t bytes) { memory.pinned[static_cast<const std::uint8_t*>(at)] = bytes; }
void unpin(void* at) {
  if (memory.pinned.erase(static_cast<const std::uint8_t*>(at)) == 0) throw std::runtime_error("unpinned what was not");
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
