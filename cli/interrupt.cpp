// Handlers do what POSIX lets them: set a flag, start a timer, write a line, remove a file, end the process.
#include "interrupt.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <ctime>

#include "options.hpp"

namespace qjl::cli {
namespace {

constexpr long kGraceNanoseconds = 200'000'000;

volatile std::sig_atomic_t interrupt_count = 0;
volatile std::sig_atomic_t spared = 0;
std::atomic<const char*> unfinished{nullptr};
static_assert(std::atomic<const char*>::is_always_lock_free);
timer_t grace{};
bool has_grace = false;

[[noreturn]] void end_now(Exit code) {
  if (const char* path = unfinished.load(); path != nullptr) unlink(path);
  _exit(static_cast<int>(code));
}

extern "C" void on_interrupt(int) {
  if (interrupt_count > 0) end_now(Exit::interrupted);
  interrupt_count = 1;
  const itimerspec in_a_moment{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = kGraceNanoseconds}};
  if (spared == 0 && has_grace) timer_settime(grace, 0, &in_a_moment, nullptr);
}

extern "C" void on_grace_over(int) { end_now(Exit::interrupted); }

// Several threads may meet the fault at once; the first one tells of it.
extern "C" void on_lost_file(int) {
  static std::atomic_flag is_told;
  while (is_told.test_and_set()) pause();
  static constexpr char kText[] = "qjl: a file in use (a model or saved cache) became shorter or cannot be read any more\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
  end_now(Exit::failure);
}

// A fault may come while the stack pointer is no stack's (qjl/threads.hpp).
alignas(16) std::byte handler_stack[1 << 16];

void handle(int number, void (*handler)(int)) {
  // Without SA_RESTART: a chat that waits for a line must see the interrupt.
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK;
  sigaction(number, &action, nullptr);
}

}  // namespace

void catch_interrupts() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  handle(SIGALRM, on_grace_over);
  has_grace = timer_create(CLOCK_MONOTONIC, &event, &grace) == 0;
  handle(SIGINT, on_interrupt);
}

void catch_lost_files() {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof(handler_stack);
  sigaltstack(&stack, nullptr);
  handle(SIGBUS, on_lost_file);
}

bool interrupted() { return interrupt_count > 0; }

void check_interrupt() {
  if (interrupted()) throw Interrupted{};
}

InterruptsSpared::InterruptsSpared() { spared = 1; }
InterruptsSpared::~InterruptsSpared() { spared = 0; }
void forget_interrupt() {
  interrupt_count = 0;  // first: one that comes after it is seen at the next check
  const itimerspec never{};
  if (has_grace) timer_settime(grace, 0, &never, nullptr);
}

UnfinishedFile::UnfinishedFile(const char* path) { unfinished = path; }
UnfinishedFile::~UnfinishedFile() { unfinished = nullptr; }

}  // namespace qjl::cli
