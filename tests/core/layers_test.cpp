// Layers that differ: their own RoPE gives the bytes of a cache that has it everywhere, their own window the numbers of a call that
// asks for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cache_fixtures.hpp"
#include "qjl/codec.hpp"

namespace qjl::test {
namespace {

constexpr std::int64_t kTokens = 300;

bool same_pages(const KvCache& a, const KvCache& b, SequenceId id, int layer) {
  for (int head = 0; head < a.config().num_kv_heads; ++head) {
    for (std::int64_t page = 0; page < kTokens / kTokensPerPage; ++page) {
      const KvCache::PageBytes x = a.page(id, layer, head, page), y = b.page(id, layer, head, page);
      if (!std::ranges::equal(x.head, y.head) || !std::ranges::equal(x.body, y.body)) return false;
    }
  }
  return true;
}

TEST(Layers, TheirOwnRopeGivesTheBytesOfACacheWithIt) {
  CacheConfig config = cache_config("k3v2", 64, 32, 3), slow = config, fast = config;
  slow.codec.rope = rope(32, 1e6);
  fast.codec.rope = rope(24, 1e3);
  config.layer_ropes = {rope(32, 1e6), rope(24, 1e3), rope(32, 1e6)};
  const Tokens tokens = random_tokens(11, config, kTokens);
  ThreadPool threads(2);
  KvCache own(config), all_slow(slow), all_fast(fast);
  const Rows queries = random_rows(12, 6, 2, 64, 0.0);
  SequenceId id{};
  for (KvCache* cache : {&own, &all_slow, &all_fast}) append(*cache, id = cache->create(), tokens, {0, kTokens}, threads);
  for (int layer = 0; layer < 3; ++layer) {
    const KvCache &same = layer == 1 ? all_fast : all_slow, &other = layer == 1 ? all_slow : all_fast;
    EXPECT_TRUE(same_pages(own, same, id, layer)) << layer;
    EXPECT_FALSE(same_pages(own, other, id, layer)) << layer;
    EXPECT_TRUE(attend_one(own, layer, id, queries, threads) == attend_one(same, layer, id, queries, threads)) << layer;
    const PageCodec codec(64, layer_codec(config, layer));
    const KvCache::PageBytes page = own.page(id, layer, 0, 0);
    const EncodedPage encoded{{page.head.begin(), page.head.end()}, {page.body.begin(), page.body.end()}};
    EXPECT_EQ(codec.decode_keys(encoded), PageCodec(64, same.config().codec).decode_keys(encoded)) << layer;
  }
  KvCache cut(config);
  const SequenceId other = cut.create();
  append(cut, other, tokens, {0, kTokens}, threads);
  cut.truncate(other, 200);  // decodes with the layer's tables
  EXPECT_EQ(cut.num_tokens(other), 200);
}

TEST(Layers, EqualRopesShareTheirTables) {
  CacheConfig config = cache_config("k3v2", 80, 32, 4);
  const auto tables = [&config] { return KvCache(config).memory_report().codec_tables; };
  const std::int64_t one = tables();
  config.layer_ropes.assign(4, config.codec.rope);
  EXPECT_EQ(tables(), one);
  config.layer_ropes[1] = config.layer_ropes[3] = rope(40, 1e6);
  const std::int64_t two = tables();
  config.layer_ropes.clear();
  config.codec.rope = rope(40, 1e6);
  EXPECT_EQ(two, one + tables());
}

TEST(Layers, TheirWindowIsThatOfACallThatSaysNothing) {
  CacheConfig config = cache_config("k3v2", 64, 32, 3);
  const Tokens tokens = random_tokens(13, config, kTokens);
  ThreadPool threads(2);
  KvCache plain(config);
  config.layer_windows = {0, 150, 20};
  KvCache windowed(config);
  SequenceId id{};
  for (KvCache* cache : {&plain, &windowed}) append(*cache, id = cache->create(), tokens, {0, kTokens}, threads);
  const Rows queries = random_rows(14, 6, 3, 64, 0.0);
  for (int layer = 0; layer < 3; ++layer) {
    const std::int64_t window = config.layer_windows[static_cast<std::size_t>(layer)];
    const auto with = [&](const KvCache& cache, std::int64_t asked) {
      return attend_one(cache, layer, id, queries, threads, {.sliding_window = asked});
    };
    EXPECT_TRUE(with(windowed, 0) == with(plain, window)) << layer;
    EXPECT_EQ(with(windowed, 0) == with(plain, 0), window == 0) << layer;
    EXPECT_TRUE(with(windowed, 40) == with(plain, 40)) << layer;
    EXPECT_TRUE(with(windowed, kNoWindow) == with(plain, 0)) << layer;
    EXPECT_TRUE(with(plain, kNoWindow) == with(plain, 0)) << layer;
  }
}

TEST(Layers, ErrorsNameTheLayer) {
  const auto error_with = [](auto change) {
    CacheConfig config = cache_config("k3v2");
    change(config);
    try {
      const KvCache cache(config);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_ropes.resize(1); }), "[cache] layer_ropes has 1 layers, wanted none or 2");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_windows.resize(3); }), "[cache] layer_windows has 3 layers, wanted none or 2");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_windows = {5, -1}; }), "[cache] the window of layer 1 is -1, wanted 0 or more");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_retention.resize(3); }),
            "[cache] layer_retention has 3 layers, wanted none or 2");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_retention = {0, -1}; }),
            "[cache] the retention of layer 1 is -1, wanted 0 (all tokens), or at least 1, and at most 1099511627776");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_windows = {0, 300}, c.layer_retention = {0, 299}; }),
            "[cache] the retention of layer 1 is 299, wanted 0 (all tokens), or at least its window, 300, and at most "
            "1099511627776");
  EXPECT_NE(error_with([](CacheConfig& c) { c.layer_retention = {0, (std::int64_t{1} << 40) + 1}; }), "");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_ropes = {rope(32, 1e4), rope(33, 1e4)}; }),
            "[codec] layer 1: found 33 RoPE frequencies, wanted at most 32");
  EXPECT_EQ(error_with([](CacheConfig& c) { c.layer_ropes = {{{-1.0}}, rope(32, 1e4)}; }),
            "[codec] layer 0: found the RoPE frequency -1, wanted 0 or more");
}

}  // namespace
}  // namespace qjl::test
