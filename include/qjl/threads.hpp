// A fixed set of threads that share out numbered items of work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace qjl {

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
