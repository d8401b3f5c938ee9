// A fixed set of threads that share out numbered items of work.
//
// Workers take no signals: those of the program go to its own threads. What a fault of their own raises (SIGSEGV, SIGBUS ...) runs a
// handler with SA_ONSTACK on a stack that is the worker's own.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

namespace qjl {

// While it lives no signal interrupts the calling thread, but for faults of its own; threads that it starts begin so. What arrives
// meanwhile is delivered afterwards. For code that lets the stack pointer point elsewhere, where a handler would destroy memory.
// Cost: two calls of the system, 0.3 microseconds. Destroyed by the thread that made it.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  std::array<std::uint64_t, 16> before_;  // the thread's mask, as the system has it
};

class ThreadPool {
 public:
  // num_threads counts the calling thread; 0 means the number of processors that this process may use.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const;

  // Calls work(item, worker) once for every item in [0, items); worker is in [0, num_threads) and no two calls with the same
  // worker overlap. Returns when all are done. Rethrows the first exception. Not reentrant; one caller at a time.
  // Allocates nothing.
  template <typename Work>
  void run(std::int64_t items, const Work& work) {
    run_items(items, std::cref(work));
  }

 private:
  void run_items(std::int64_t items, const std::function<void(std::int64_t item, int worker)>& work);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl
