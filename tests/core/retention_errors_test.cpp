// Caches whose layers forget (CacheConfig::layer_retention): what they refuse, and when nothing is forgotten after all.
#include <gtest/gtest.h>

#include <limits>

#include "cache_fixtures.hpp"
#include "qjl/moves.hpp"
#include "qjl/paged.hpp"

namespace qjl::test {
namespace {

CacheConfig config_of(std::vector<std::int64_t> retention) {
  CacheConfig config = cache_config("k3v2", 64, 4, 2);
  config.layer_retention = std::move(retention);
  return config;
}

TEST(RetentionErrors, ALengthThatNoTableHoldsIsRefusedAtOnce) {
  for (const std::vector<std::int64_t>& retention : {std::vector<std::int64_t>{}, {0, 256}, {256, 256}}) {
    KvCache cache(config_of(retention));
    const SequenceId id = cache.create();
    for (const std::int64_t tokens : {std::numeric_limits<std::int64_t>::max(), std::int64_t{1} << 40}) {
      EXPECT_NE(error_of([&] { cache.reserve(id, tokens); }, ErrorKind::out_of_pages).find("[reserve]"), std::string::npos);
    }
    EXPECT_EQ(cache.free_pages(), 4);
    cache.reserve(id, 256);
  }
}

TEST(RetentionErrors, OfAllZerosIsNone) {
  EXPECT_TRUE(KvCache(config_of({0, 0})).config().layer_retention.empty());
  EXPECT_TRUE(PagedCache(config_of({0, 0})).config().layer_retention.empty());
}

TEST(RetentionErrors, NothingIsExtended) {
  const CacheConfig config = config_of({0, 256});
  KvCache cache(config);
  ThreadPool threads(1);
  const Tokens tokens = random_tokens(1, config, 256);
  const SequenceId from = cache.create(), onto = cache.create();
  append(cache, from, tokens, {0, 256}, threads);
  append(cache, onto, tokens, {0, 128}, threads);
  EXPECT_NE(error_of([&] { cache.extend(onto, from, 256); }, ErrorKind::unsupported).find("[extend]"), std::string::npos);
  EXPECT_NE(error_of([&] { extend_sequence(cache, from, cache, onto); }, ErrorKind::unsupported).find("[extend_sequence]"),
            std::string::npos);
  EXPECT_EQ(cache.num_tokens(onto), 128);
}

}  // namespace
}  // namespace qjl::test
