// CacheConfig::on_seal: pages hold what the function leaves, tails and answers before sealing what came in, in any chunking.
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

constexpr int kTokens = 300;  // two pages and a tail

CacheConfig doubling(const std::string& type) {
  CacheConfig config = cache_config(type);
  config.on_seal = [](const SealingPage& page) {
    for (float& x : page.keys) x *= 2.0f;
    for (float& x : page.values) x *= -1.0f;
  };
  return config;
}

std::string bytes_of(const CacheConfig& config, const Tokens& tokens, std::int64_t chunk) {
  KvCache cache(config);
  ThreadPool threads(2);
  const SequenceId sequence = cache.create();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const auto l = static_cast<std::size_t>(layer);
    for (std::int64_t at = 0; at < kTokens; at += chunk) {
      const std::int64_t count = std::min<std::int64_t>(chunk, kTokens - at);
      cache.append(sequence, layer, tokens.keys[l].view(at, count), tokens.values[l].view(at, count), threads);
    }
  }
  return page_bytes(cache, sequence);
}

TEST(OnSeal, PagesHoldWhatItLeaves) {
  for (const std::string type : {"f16", "k3v2"}) {
    const CacheConfig config = doubling(type);
    Tokens tokens = random_tokens(7, config, kTokens);
    const auto found = bytes_of(config, tokens, kTokens);
    for (Rows& rows : tokens.keys) rows.transform([](double x) { return 2.0 * x; });  // exact in 16 bit
    for (Rows& rows : tokens.values) rows.transform([](double x) { return -x; });
    EXPECT_EQ(found, bytes_of(cache_config(type), tokens, kTokens)) << type;
  }
}

TEST(OnSeal, ChunksDoNotMatter) {
  const CacheConfig config = doubling("k3v2");
  const Tokens tokens = random_tokens(8, config, kTokens);
  const auto whole = bytes_of(config, tokens, kTokens);
  EXPECT_EQ(whole, bytes_of(config, tokens, 1));
  EXPECT_EQ(whole, bytes_of(config, tokens, 200));
}

TEST(OnSeal, SeesEveryPageOnce) {
  CacheConfig config = cache_config("f16");
  std::mutex mutex;
  std::multiset<std::pair<int, std::int64_t>> seen;
  config.on_seal = [&](const SealingPage& page) {
    const std::scoped_lock lock(mutex);
    seen.emplace(page.layer, page.first_position);
    EXPECT_EQ(page.keys.size(), static_cast<std::size_t>(2 * kTokensPerPage * 64));
    EXPECT_EQ(page.values.size(), page.keys.size());
  };
  bytes_of(config, random_tokens(9, config, kTokens), 150);
  EXPECT_EQ(seen, (std::multiset<std::pair<int, std::int64_t>>{{0, 0}, {0, 128}, {1, 0}, {1, 128}}));
}

TEST(OnSeal, WhatIsNotANumberIsRefused) {
  CacheConfig config = cache_config("f16");
  config.on_seal = [](const SealingPage& page) { page.keys[5] = std::numeric_limits<float>::quiet_NaN(); };
  KvCache cache(config);
  ThreadPool threads(2);
  const SequenceId sequence = cache.create();
  const Tokens tokens = random_tokens(10, config, kTokens);
  EXPECT_THROW(cache.append(sequence, 0, tokens.keys[0].view(), tokens.values[0].view(), threads), Error);
  EXPECT_EQ(cache.num_tokens(sequence, 0), 0);
}

}  // namespace
}  // namespace qjl::test
