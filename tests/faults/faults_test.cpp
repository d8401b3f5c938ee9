// Every n-th call of the system that the library needs fails, for all n up to the first call that succeeds: the cache is then as it was,
// to the last bit of what an attend gives, and a saved file is the old one or the new one.
#include "faults.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <system_error>

#include "cache_fixtures.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

constexpr int kMostCalls = 20000;

struct FaultsTest : testing::TestWithParam<const char*> {
  fs::path folder = fs::temp_directory_path() / ("qjl_faults_" + std::to_string(getpid()));
  std::string path = (folder / "saved").string();
  ThreadPool threads{2};
  CacheConfig config = cache_config(GetParam(), 64, 40, 2);
  KvCache cache{config};
  SequenceId id = cache.create(), fork = id;
  Tokens tokens = random_tokens(3, config, 700);

  FaultsTest() {
    fs::create_directories(folder);
    append(cache, id, tokens, {0, 300}, threads);
    fork = cache.fork(id, threads);
  }
  ~FaultsTest() override { fs::remove_all(folder); }

  // What a failure must not change.
  struct State {
    std::vector<std::int64_t> counts;
    std::vector<Attended> outputs;
    bool operator==(const State&) const = default;
  };
  State state() {
    const MemoryReport r = cache.memory_report();
    State seen{{cache.free_pages(), r.sealed_pages, r.tails, r.sinks}, {}};
    for (const SequenceId sequence : {id, fork}) {
      for (int layer = 0; layer < config.num_layers; ++layer) seen.counts.push_back(cache.num_tokens(sequence, layer));
      for (Attended& one : outputs(cache, sequence, threads)) seen.outputs.push_back(std::move(one));
    }
    return seen;
  }
  void fork_again() {
    cache.drop(fork);
    fork = cache.fork(id, threads);
  }

  // `work` with its first, second ... call of this kind failing, until none is left to fail. `undo` takes a success back.
  void try_all(fault_kind kind, const std::function<void()>& work, const std::function<void()>& undo = [] {}) {
    const State before = state();
    for (long n = 1; n < kMostCalls; ++n) {
      bool failed = false;
      fault_arm(kind, n, 0);
      try {
        work();
      } catch (const std::bad_alloc&) {
        failed = true;
      } catch (const std::system_error&) {
        failed = true;
      } catch (const Error& error) {
        failed = error.kind() == ErrorKind::io;
      }
      const long calls = fault_calls();
      fault_disarm();
      if (!failed) undo();
      ASSERT_TRUE(state() == before) << "after call " << n;
      if (calls < n) return;
    }
    FAIL() << "more than " << kMostCalls << " calls";
  }
};

TEST_P(FaultsTest, MemoryThatIsRefusedChangesNothing) {
  for (const fault_kind kind : {FAULT_MALLOC, FAULT_MMAP}) {
    try_all(kind, [&] { KvCache other(config); });
    SequenceId made{};
    try_all(kind, [&] { made = cache.create(); }, [&] { cache.drop(made); });
    try_all(kind, [&] { made = cache.fork(id, threads); }, [&] { cache.drop(made); });
    const auto again = [&] { fork_again(); };
    try_all(kind, [&] { append_layer(cache, fork, 0, tokens, {300, 400}, threads); }, again);
    try_all(kind, [&] { cache.truncate(fork, 200, threads); }, again);
    try_all(kind, [&] { cache.reserve(fork, 900); }, again);
    try_all(kind, [&] { state(); });
  }
}

TEST_P(FaultsTest, MemoryThatIsRefusedMovesNothing) {
  KvCache other(config);
  const SequenceId source = other.create();
  append(other, source, tokens, {0, 600}, threads);
  const auto cut_at_a_page = [&] {
    fork_again();
    cache.truncate(fork, 256, threads);
  };
  cut_at_a_page();
  for (const fault_kind kind : {FAULT_MALLOC, FAULT_MMAP}) {
    SequenceId made{};
    try_all(kind, [&] { made = copy_sequence(other, source, cache); }, [&] { cache.drop(made); });
    try_all(kind, [&] { extend_sequence(other, source, cache, fork); }, cut_at_a_page);
  }
  extend_sequence(other, source, cache, fork);
  EXPECT_TRUE(outputs(cache, fork, threads) == outputs(other, source, threads));
}

TEST_P(FaultsTest, ThreadsThatAreRefusedAreGivenBack) {
  for (const fault_kind kind : {FAULT_MALLOC, FAULT_PTHREAD_CREATE}) try_all(kind, [] { ThreadPool pool(5); });
}

TEST_P(FaultsTest, AFileIsTheOldOneOrTheNewOne) {
  for (const fault_kind kind : {FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME, FAULT_MALLOC}) {
    std::ofstream(path) << "old";
    const auto content = [&] {
      std::ifstream file(path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    save_cache((folder / "wanted").string(), cache, {{id}}, {.model = "m"});
    std::ifstream wanted_file(folder / "wanted", std::ios::binary);
    const std::string wanted(std::istreambuf_iterator<char>(wanted_file), {});
    fs::remove(folder / "wanted");
    try_all(kind, [&] {
      try {
        save_cache(path, cache, {{id}}, {.model = "m"});
      } catch (...) {
        fault_disarm();
        const std::string found = content();
        EXPECT_TRUE(found == "old" || found == wanted);
        EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
        throw;
      }
    });
    EXPECT_TRUE(content() == wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, FaultsTest, testing::Values("k3v2", "f16", "k2v4", "paper"));

}  // namespace
}  // namespace qjl::test
