// Fibers and the order in which they run.
#include "fibers.hpp"

#include <sys/mman.h>

#include <stdexcept>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace qjl::simt {
namespace {

constexpr std::size_t kStackBytes = 256 << 10, kGuardBytes = 4096;
constexpr unsigned kMaxThreads = 1024;

#if defined(__x86_64__)
// Keeps what a call keeps, leaves the stack pointer in *from and goes on at `to`.
extern "C" void qjl_simt_switch(void** from, void* to);
asm(R"(
.pushsection .text
.type qjl_simt_switch, @function
qjl_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size qjl_simt_switch, . - qjl_simt_switch
.popsection
)");
constexpr int kSavedRegisters = 6;
#endif

struct Fiber {
  std::uint8_t* stack;
  bool done;
  const std::uint64_t* counter;  // waits while *counter is `seen`
  std::uint64_t seen;
  const char* what;
  void* fake_stack;
#if defined(__x86_64__)
  void* context;
#else
  ucontext_t context;
#endif
};

struct Block {
  std::vector<Fiber> fibers;
  std::uint8_t* stacks = nullptr;
  Order order = Order::ascending;
  std::uint64_t random = 1;
  unsigned current = 0;
  const std::function<void(unsigned)>* body = nullptr;
  decltype(Fiber::context) scheduler{};
  void* fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_bytes = 0;
};
Block block;

// The scheduler's side and a fiber's side of a switch. AddressSanitizer is told which stack comes next.
void enter(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&block.fake_stack, fiber.stack, kStackBytes);
#endif
#if defined(__x86_64__)
  qjl_simt_switch(&block.scheduler, fiber.context);
#else
  swapcontext(&block.scheduler, &fiber.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(block.fake_stack, nullptr, nullptr);
#endif
}
void leave(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fiber.done ? nullptr : &fiber.fake_stack, block.scheduler_stack, block.scheduler_bytes);
#endif
#if defined(__x86_64__)
  qjl_simt_switch(&fiber.context, block.scheduler);
#else
  swapcontext(&fiber.context, &block.scheduler);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &block.scheduler_stack, &block.scheduler_bytes);
#endif
}

void start() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_bytes);
#endif
  (*block.body)(block.current);
  Fiber& fiber = block.fibers[block.current];
  fiber.done = true;
  leave(fiber);
}

void prepare(Fiber& fiber) {
  fiber.done = false;
  fiber.counter = nullptr;
  fiber.fake_stack = nullptr;
#if defined(__x86_64__)
  // As if `start` had been called: the return address that the switch takes, and a stack 8 bytes off 16.
  auto** top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 2;
  *top = reinterpret_cast<void*>(&start);
  fiber.context = top - kSavedRegisters;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack = {fiber.stack, 0, kStackBytes};
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &start, 0);
#endif
}

void make_stacks() {
  if (block.stacks != nullptr) return;
  constexpr std::size_t kStride = kStackBytes + kGuardBytes;
  void* memory = mmap(nullptr, kMaxThreads * kStride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stacks of a block");
  block.stacks = static_cast<std::uint8_t*>(memory);
  block.fibers.resize(kMaxThreads);
  for (unsigned i = 0; i < kMaxThreads; ++i) {
    mprotect(block.stacks + i * kStride, kGuardBytes, PROT_NONE);
    block.fibers[i].stack = block.stacks + i * kStride + kGuardBytes;
  }
}

// Number i of the pass that visits every thread once; a shuffled pass starts anywhere and takes steps of an odd number.
unsigned visited(unsigned i, unsigned count) {
  if (block.order == Order::ascending) return i;
  if (block.order == Order::descending) return count - 1 - i;
  unsigned all = 1;
  while (all < count) all *= 2;
  return static_cast<unsigned>((block.random >> 40) + i * ((block.random >> 20) | 1)) & (all - 1);
}

}  // namespace

void set_order(Order order) { block.order = order; }
unsigned current_thread() { return block.current; }

void wait(const std::uint64_t* counter, std::uint64_t seen, const char* what) {
  Fiber& fiber = block.fibers[block.current];
  fiber.counter = counter;
  fiber.seen = seen;
  fiber.what = what;
  leave(fiber);
}

namespace {

// Lets a thread go on if it can.
bool resume(unsigned thread) {
  Fiber& fiber = block.fibers[thread];
  if (fiber.done || (fiber.counter != nullptr && *fiber.counter == fiber.seen)) return false;
  fiber.counter = nullptr;
  block.current = thread;
  on_resume(thread);
  enter(fiber);
  return true;
}

// Each thread once.
bool pass_by_threads(unsigned count) {
  unsigned all = 1;
  while (all < count) all *= 2;
  bool moved = false;
  for (unsigned i = 0; i < (block.order == Order::shuffled ? all : count); ++i) {
    const unsigned thread = visited(i, count);
    if (thread < count) moved |= resume(thread);
  }
  return moved;
}

// Each warp as far as it goes.
bool pass_by_warps(unsigned count) {
  constexpr unsigned kLanes = 32;
  const unsigned warps = (count + kLanes - 1) / kLanes;
  bool moved = false;
  for (unsigned i = 0; i < warps; ++i) {
    const unsigned first = kLanes * (block.order == Order::first_warp_ahead ? i : warps - 1 - i);
    for (bool again = true; again;) {
      again = false;
      for (unsigned thread = first; thread < first + kLanes && thread < count; ++thread) again |= resume(thread);
      moved |= again;
    }
  }
  return moved;
}

}  // namespace

void run_block(unsigned count, const std::function<void(unsigned)>& body) {
  if (count == 0 || count > kMaxThreads) throw std::runtime_error("a block of " + std::to_string(count) + " threads");
  make_stacks();
  block.body = &body;
  for (unsigned i = 0; i < count; ++i) prepare(block.fibers[i]);
  const bool by_warps = block.order == Order::first_warp_ahead || block.order == Order::last_warp_ahead;
  for (;;) {
    block.random = block.random * 6364136223846793005u + 1442695040888963407u;
    if (by_warps ? pass_by_warps(count) : pass_by_threads(count)) continue;
    unsigned waiting = 0;
    while (waiting < count && block.fibers[waiting].done) ++waiting;
    if (waiting == count) return;
    throw std::runtime_error("a block is stuck: thread " + std::to_string(waiting) + " waits at " + block.fibers[waiting].what);
  }
}

}  // namespace qjl::simt
