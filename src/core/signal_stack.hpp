// A stack for signal handlers, of one thread: a handler with SA_ONSTACK then runs wherever the thread's stack pointer points.
#pragma once

#include <signal.h>

#include <cstddef>
#include <memory>

namespace qjl {

class SignalStack {
 public:
  // Errors: std::bad_alloc.
  SignalStack();

  // The calling thread handles its signals there while this lives, unless it has such a stack already.
  class Use {
   public:
    explicit Use(const SignalStack& stack);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    stack_t before_{};
  };

 private:
  std::unique_ptr<std::byte[]> bytes_;  // memory that no handler touches costs nothing
};

}  // namespace qjl
