// For tests of single verbs on a device: all memory that the program takes is pinned host memory, which the device reads at the
// same addresses. So a test hands over its vectors as it does on the host. Freed blocks are kept for the next of their size.
#include <cuda_runtime_api.h>

#include <bit>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kHeader = 64;  // a block's size class, and alignment for what follows
constexpr std::size_t kArenaBytes = std::size_t{1} << 28;

struct Free {
  Free* next;
};
struct {
  Free* of_class[64];
  unsigned char* arena;
  std::size_t left;
} memory;

unsigned char* fresh(std::size_t bytes) {
  if (memory.left < bytes) {
    void* arena = nullptr;
    const std::size_t wanted = bytes > kArenaBytes ? bytes : kArenaBytes;
    if (cudaMallocHost(&arena, wanted) != cudaSuccess) arena = std::malloc(wanted);  // no device: the tests will skip
    if (arena == nullptr) throw std::bad_alloc();
    memory.arena = static_cast<unsigned char*>(arena);
    memory.left = wanted;
  }
  unsigned char* block = memory.arena;
  memory.arena += bytes;
  memory.left -= bytes;
  return block;
}

void* take(std::size_t bytes) {
  const int size_class = std::bit_width(bytes + kHeader - 1);
  unsigned char* block;
  if (Free*& list = memory.of_class[size_class]; list != nullptr) {
    block = reinterpret_cast<unsigned char*>(list) - kHeader;
    list = list->next;
  } else {
    block = fresh(std::size_t{1} << (size_class < 7 ? 7 : size_class));
  }
  *reinterpret_cast<int*>(block) = size_class;
  return block + kHeader;
}
void give_back(void* at) {
  if (at == nullptr) return;
  const int size_class = *reinterpret_cast<int*>(static_cast<unsigned char*>(at) - kHeader);
  auto* block = static_cast<Free*>(at);
  block->next = memory.of_class[size_class];
  memory.of_class[size_class] = block;
}

}  // namespace

void* operator new(std::size_t bytes) { return take(bytes); }
void* operator new(std::size_t bytes, std::align_val_t) { return take(bytes); }  // tests ask for 64 at most
void operator delete(void* at) noexcept { give_back(at); }
void operator delete(void* at, std::size_t) noexcept { give_back(at); }
void operator delete(void* at, std::align_val_t) noexcept { give_back(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { give_back(at); }
