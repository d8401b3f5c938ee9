// ThreadPool: every item once, no two at a time on one worker, exceptions carried, reuse after sleep. `./dev tsan` runs it too.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "qjl/error.hpp"
#include "qjl/threads.hpp"

namespace qjl::test {
namespace {

TEST(Threads, EveryItemOnceAndOneAtATimePerWorker) {
  for (const int count : {1, 2, 3, 8}) {
    ThreadPool pool(count);
    ASSERT_EQ(pool.num_threads(), count);
    for (const std::int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<int> seen(static_cast<std::size_t>(items), 0);  // plain: TSan sees two writers
      std::vector<std::atomic<int>> inside(static_cast<std::size_t>(count));
      std::atomic<int> overlaps{0};
      pool.run(items, [&](std::int64_t item, int worker) {
        overlaps += inside.at(static_cast<std::size_t>(worker))++ != 0;
        ++seen.at(static_cast<std::size_t>(item));
        --inside.at(static_cast<std::size_t>(worker));
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), std::int64_t{0}), items);
      for (const int times : seen) ASSERT_EQ(times, 1) << count << " threads, " << items << " items";
      EXPECT_EQ(overlaps, 0);
    }
  }
}

// What one run wrote, the next run and the caller read, without any other synchronisation.
TEST(Threads, RunsFollowEachOther) {
  ThreadPool pool(3);
  std::vector<std::int64_t> numbers(64, 0);
  for (int round = 0; round < 3000; ++round) {
    pool.run(64, [&](std::int64_t item, int) { ++numbers[static_cast<std::size_t>(item)]; });
    if (round % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // let the workers fall asleep
  }
  for (const std::int64_t number : numbers) EXPECT_EQ(number, 3000);
}

// Runs so short that a worker often comes when one is over or the next has begun.
TEST(Threads, WhoComesLateDisturbsNobody) {
  for (const int count : {2, 4}) {
    ThreadPool pool(count);
    std::array<std::int64_t, 2> times{};
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    for (std::int64_t round = 1; round % 1000 != 0 || std::chrono::steady_clock::now() < end; ++round) {
      pool.run(2, [&](std::int64_t item, int) { ++times[static_cast<std::size_t>(item)]; });
      ASSERT_EQ(times, (std::array<std::int64_t, 2>{round, round}));
    }
  }
}

TEST(Threads, TheFirstExceptionArrivesAndThePoolLivesOn) {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    try {
      pool.run(1000, [&](std::int64_t item, int) {
        if (item == 10) throw std::runtime_error("item 10");
      });
      FAIL() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "item 10");
    }
    std::atomic<int> after{0};
    pool.run(100, [&](std::int64_t, int) { ++after; });
    EXPECT_EQ(after, 100);
  }
}

// What a worker's mask and stack for handlers are. The caller's are its own affair.
TEST(Threads, WorkersTakeNoSignalsAndHandleFaultsOnAStackOfTheirOwn) {
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  ThreadPool pool(3);
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (int signal = 1; signal < SIGRTMIN; ++signal) EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
  std::atomic<int> inside{0};
  pool.run(3, [&](std::int64_t, int worker) {
    ++inside;
    while (inside < 3) std::this_thread::yield();  // so that every worker has an item
    if (worker == 0) return;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGHUP, SIGPIPE, SIGUSR1})
      EXPECT_EQ(sigismember(&mask, signal), 1) << signal;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_EQ(sigismember(&mask, signal), 0) << signal;
    stack_t stack{};
    sigaltstack(nullptr, &stack);
    EXPECT_EQ(stack.ss_flags & SS_DISABLE, 0);
  });
}

TEST(Threads, SignalsComeAfterTheyWereBlocked) {
  static std::atomic<int> taken{0};
  struct sigaction count{}, before{};
  count.sa_handler = [](int) { ++taken; };
  sigaction(SIGUSR1, &count, &before);
  {
    const SignalsBlocked blocked;
    raise(SIGUSR1);
    EXPECT_EQ(taken, 0);
  }
  EXPECT_EQ(taken, 1);
  sigaction(SIGUSR1, &before, nullptr);
}

// Every thread has an item, whether the workers look for it or sleep, one of them or several; and the caller sleeps until the last ends.
TEST(Threads, AllTakePartAfterEverySleep) {
  for (const int count : {2, 3}) {
    ThreadPool pool(count);
    for (int round = 0; round < 4; ++round) {
      std::atomic<int> inside{0}, ended{0};
      pool.run(count, [&](std::int64_t, int worker) {
        ++inside;
        while (inside < count) std::this_thread::yield();
        if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than any looks before it sleeps
        ++ended;
      });
      EXPECT_EQ(ended, count);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

TEST(Threads, WorkersWithoutWorkTakeNoTime) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    pool.run(3, [](std::int64_t, int) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::clock_t before = std::clock();  // of all threads of the process
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 50) << "one that looks all the time takes a tenth of a second";
  }
}

TEST(Threads, OneItemWakesNoWorker) {
  const auto sleeps = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
  };
  ThreadPool pool(8);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const long before = sleeps();
  pool.run(1, [](std::int64_t, int worker) { EXPECT_EQ(worker, 0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_LT(sleeps() - before, 7) << "seven workers that woke would sleep again";
}

TEST(Threads, ARunInsideARunIsRefused) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run(2, [&](std::int64_t, int) { pool.run(1, [](std::int64_t, int) {}); }), Error);
  EXPECT_NO_THROW(pool.run(2, [&](std::int64_t, int) {
    for (const std::int64_t none : {0, -1}) pool.run(none, [](std::int64_t, int) {});
  }));
}

TEST(Threads, TheirNumberHasBounds) {
  EXPECT_THROW(ThreadPool(-1), Error);
  EXPECT_THROW(ThreadPool(1025), Error);
  try {
    EXPECT_EQ(ThreadPool(1024).num_threads(), 1024);
  } catch (const std::system_error&) {  // more than this system gives
  }
  ThreadPool all;
  EXPECT_GE(all.num_threads(), 1);
}

}  // namespace
}  // namespace qjl::test
