// What threads have to do with signals: where handlers run, and which signals come.
#include "signal_stack.hpp"

#include <cstring>

#include "qjl/threads.hpp"

namespace qjl {
namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 16;  // the frame of a handler holds every vector register: 11 kB with tiles

// Raised by what a thread does itself. Blocked, they would end the process before any handler.
constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

}  // namespace

SignalStack::SignalStack() : bytes_(new std::byte[kStackBytes]) {}

SignalStack::Use::Use(const SignalStack& stack) {
  if (sigaltstack(nullptr, &before_) != 0 || (before_.ss_flags & SS_DISABLE) == 0) return;
  stack_t ours{};
  ours.ss_sp = stack.bytes_.get();
  ours.ss_size = kStackBytes;
  sigaltstack(&ours, nullptr);
}

SignalStack::Use::~Use() {
  if ((before_.ss_flags & SS_DISABLE) != 0) sigaltstack(&before_, nullptr);
}

SignalsBlocked::SignalsBlocked() {
  static_assert(sizeof(sigset_t) <= sizeof(before_));
  sigset_t all, before;
  sigfillset(&all);
  for (const int fault : kFaults) sigdelset(&all, fault);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  std::memcpy(before_.data(), &before, sizeof(before));
}

SignalsBlocked::~SignalsBlocked() {
  sigset_t before;
  std::memcpy(&before, before_.data(), sizeof(before));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace qjl
