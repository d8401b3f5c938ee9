// ThreadPool: workers that live as long as the pool and share out the items of one job at a time by an atomic counter.
//
//   gate = 2 * (workers inside the job) + (1 while the job is open)
//
// The caller writes the job, opens the gate and works too; when the items are out it closes the gate and waits until nobody is
// inside. A worker that wakes late finds the gate closed, so the caller never waits for a sleeper. Both sides look at memory for
// some microseconds before they sleep: the gaps between the layers of a model are shorter than a wake-up by the system. Who sleeps
// says so first, and the other side takes the lock only then: a job that finds everybody awake costs two shared cache lines.
//
//   sleeper: sleepers += 1; look; sleep        waker: write; sleepers > 0 -> lock, notify
//
// Both are sequentially consistent, so the sleeper sees the write or the waker sees the sleeper.
#include "qjl/threads.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "fail.hpp"
#include "processors.hpp"
#include "signal_stack.hpp"

namespace qjl {
namespace {

constexpr int kSpins = 2000;  // looks before sleep, 20 to 80 microseconds
constexpr int kMaxThreads = 1024;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <typename Condition>
bool spin_until(Condition holds) {
  for (int spin = 0; spin < kSpins && !holds(); ++spin) relax();
  return holds();
}

}  // namespace

struct ThreadPool::State {
  std::vector<SignalStack> stacks;  // of the workers
  std::vector<std::thread> workers;
  std::atomic<bool> busy{false};

  // The job, on one cache line with what guards it: a line takes 0.2 microseconds from core to core, and a worker needs all of it.
  // Written while the gate is 0, read by those who passed it.
  alignas(64) const std::function<void(std::int64_t, int)>* work = nullptr;
  std::int64_t items{};
  std::atomic<std::int64_t> next{};
  std::atomic<std::uint64_t> job{};  // counts jobs; the last value means stop
  std::atomic<std::uint32_t> gate{};

  alignas(64) std::exception_ptr error;  // first one, guarded by mutex
  std::mutex mutex;
  std::condition_variable wake, done;
  std::atomic<int> sleepers{};  // workers that wait for a job
  std::atomic<bool> caller_sleeps{};
  static constexpr std::uint64_t kStop = std::numeric_limits<std::uint64_t>::max();

  // Works until no item is left. An exception ends the job early.
  void drain(int worker) {
    try {
      for (std::int64_t item = next.fetch_add(1); item < items; item = next.fetch_add(1)) (*work)(item, worker);
    } catch (...) {
      next.store(items);
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  bool enter() {
    std::uint32_t seen = gate.load(std::memory_order_relaxed);
    while ((seen & 1) != 0) {
      if (gate.compare_exchange_weak(seen, seen + 2, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  void leave() {
    if (gate.fetch_sub(2) == 2 && caller_sleeps.load()) {  // closed, and the last who was inside
      const std::lock_guard lock(mutex);
      done.notify_one();
    }
  }

  void serve(int worker) {
    for (std::uint64_t seen = 0;;) {
      if (!spin_until([&] { return job.load(std::memory_order_acquire) != seen; })) {
        std::unique_lock lock(mutex);
        ++sleepers;
        wake.wait(lock, [&] { return job.load() != seen; });
        --sleepers;
      }
      seen = job.load(std::memory_order_acquire);
      if (seen == kStop) return;
      if (!enter()) continue;
      drain(worker);
      leave();
    }
  }

  // After the job number has changed.
  void wake_sleepers() {
    if (sleepers.load() != 0) {
      const std::lock_guard lock(mutex);
      wake.notify_all();
    }
  }

  void stop() {
    job.store(kStop);
    wake_sleepers();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int num_threads) : state_(std::make_unique<State>()) {
  require(num_threads >= 0 && num_threads <= kMaxThreads, "threads", "found ", num_threads, " threads, wanted 0 to ", kMaxThreads);
  const int count = num_threads == 0 ? available_processors() : num_threads;
  state_->stacks.resize(static_cast<std::size_t>(count - 1));
  try {
    const SignalsBlocked for_workers;
    int worker = 0;  // the caller
    for (const SignalStack& stack : state_->stacks) {
      state_->workers.emplace_back([state = state_.get(), &stack, worker = ++worker] {
        const SignalStack::Use use(stack);
        state->serve(worker);
      });
    }
  } catch (...) {
    state_->stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->stop(); }

int ThreadPool::num_threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run_items(std::int64_t items, const std::function<void(std::int64_t item, int worker)>& work) {
  if (items <= 0) return;
  State& s = *state_;
  require(!s.busy.exchange(true, std::memory_order_acquire), "threads",
          "run() was called during a run() of the same pool, wanted one at a time");
  struct Idle {
    std::atomic<bool>& busy;
    ~Idle() { busy.store(false, std::memory_order_release); }
  } idle{s.busy};
  if (items == 1 || s.workers.empty()) {
    for (std::int64_t item = 0; item < items; ++item) work(item, 0);
    return;
  }
  s.work = &work;
  s.items = items;
  s.next.store(0, std::memory_order_relaxed);
  s.gate.store(1, std::memory_order_release);
  ++s.job;
  s.wake_sleepers();
  s.drain(0);
  s.gate.fetch_sub(1, std::memory_order_acq_rel);
  const auto empty = [&] { return s.gate.load() == 0; };
  if (!spin_until(empty)) {
    std::unique_lock lock(s.mutex);
    s.caller_sleeps.store(true);
    s.done.wait(lock, empty);
    s.caller_sleeps.store(false);
  }
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

}  // namespace qjl
