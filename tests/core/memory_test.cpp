// memory_report() against what the operating system says the process has grown by.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "cache_fixtures.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QJL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define QJL_SANITIZED 1
#endif
#endif

namespace qjl::test {
namespace {

#ifdef QJL_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// The shape of a small model: 30 layers, 3 kv heads, d = 64.
CacheConfig small_model() {
  CacheConfig config = cache_config("k3v2", 64, 128);
  config.num_layers = 30;
  config.num_kv_heads = 3;
  return config;
}

// Grows a sequence to `length` by `chunk` tokens a call and compares. Everything beside the cache is touched before.
void check_growth(std::int64_t length, int chunk) {
  const CacheConfig config = small_model();
  const Rows keys = random_rows(31, 3, chunk, 64), values = random_rows(32, 3, chunk, 64, 0.0);
  ThreadPool threads(1);
  {
    KvCache warm(config);  // code, thread stacks, the heap's first pages, scratch memory of an append
    const SequenceId id = warm.create();
    warm.append(id, 0, keys.view(), values.view(), threads);
  }
  const std::int64_t before = resident_bytes();
  KvCache cache(config);
  const SequenceId id = cache.create();
  for (std::int64_t t = 0; t < length; t += chunk) {
    const std::int64_t count = std::min<std::int64_t>(chunk, length - t);
    for (int layer = 0; layer < config.num_layers; ++layer)
      cache.append(id, layer, keys.view(0, count), values.view(0, count), threads);
  }
  const std::int64_t grown = resident_bytes() - before, reported = cache.memory_report().total();
  const double bits = 8.0 * static_cast<double>(reported) / (2.0 * static_cast<double>(length) * 30 * 3 * 64);
  std::printf("%ld tokens, %ld a call: resident growth %.3f MB, reported %.3f MB, ratio %.4f, %.3f bits a number (sealed %.3f)\n",
              static_cast<long>(length), static_cast<long>(chunk), 1e-6 * static_cast<double>(grown),
              1e-6 * static_cast<double>(reported), static_cast<double>(grown) / static_cast<double>(reported), bits,
              cache.bits_sealed());
  EXPECT_DOUBLE_EQ(cache.bits(), bits);
  EXPECT_NEAR(static_cast<double>(grown) / static_cast<double>(reported), 1.0, 0.05);
}

TEST(Memory, ResidentGrowthIsWithinFivePercentOfTheReport) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer keeps shadow memory, so that resident growth is not the cache's";
  check_growth(8192, 8192);
  check_growth(8192, 1);
  check_growth(8000, 500);
  check_growth(8191, 127);
}

TEST(Memory, KindsAddUpToWhatTheShapesSay) {
  CacheConfig config = cache_config("k3v2", 64, 16);
  const Tokens tokens = random_tokens(33, config, 700);
  ThreadPool threads(1);
  KvCache cache(config);
  EXPECT_EQ(cache.memory_report().sealed_pages + cache.memory_report().free_pages, 0);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 700}, threads);
  const MemoryReport full = cache.memory_report();
  EXPECT_EQ(full.sealed_pages, 5 * 2 * 2 * cache.page_bytes(0));
  EXPECT_GE(full.tails, 2 * 2 * 2 * kTokensPerPage * 64 * 2);  // layers, heads, keys and values, tokens, channels, bytes
  EXPECT_LE(full.tails, 2 * 2 * 2 * kTokensPerPage * 64 * 2 + 2 * 4096 + 1024);
  EXPECT_GE(full.sinks, 2 * 2 * 2 * 4 * 64 * 2);
  EXPECT_EQ(full.num_tokens, 700);
  // A fork shares pages, sinks and tail: it costs its record.
  const SequenceId fork = cache.fork(id);
  const MemoryReport shared = cache.memory_report();
  EXPECT_EQ(shared.sealed_pages, full.sealed_pages);
  EXPECT_EQ(shared.tails, full.tails);
  EXPECT_EQ(shared.sinks, full.sinks);
  EXPECT_LT(shared.total() - full.total(), 1024);
  EXPECT_EQ(shared.num_tokens, 1400);
  // Freed pages stay resident and are told apart.
  cache.drop(fork);
  cache.truncate(id, 128);
  const MemoryReport cut = cache.memory_report();
  EXPECT_EQ(cut.sealed_pages, 2 * 2 * cache.page_bytes(0));
  EXPECT_EQ(cut.sealed_pages + cut.free_pages, full.sealed_pages + full.free_pages);
  EXPECT_EQ(cut.tails, 0);
}

}  // namespace
}  // namespace qjl::test
