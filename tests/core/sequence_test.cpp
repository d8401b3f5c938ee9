// Fork, truncate, drop, reserve: what is shared stays untouched, what is given back is free again.
#include <gtest/gtest.h>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

class Sequences : public testing::TestWithParam<std::string> {};

TEST_P(Sequences, ForkThenAppendLeavesTheParentUntouched) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(11, config, 600), other = random_tokens(12, config, 600);
  ThreadPool threads(2);
  for (const std::int64_t length : {0, 5, 128, 200, 300}) {
    KvCache cache(config);
    const SequenceId parent = cache.create();
    append(cache, parent, tokens, {0, length}, threads);
    const std::string bytes = page_bytes(cache, parent);
    const std::vector<Attended> out = outputs(cache, parent, threads);
    const std::int64_t free_before = cache.free_pages();
    const SequenceId child = cache.fork(parent);
    EXPECT_EQ(cache.free_pages(), free_before) << "a fork takes no page";
    EXPECT_TRUE(outputs(cache, child, threads) == out) << GetParam() << ", length " << length;
    for (std::int64_t t = length; t < 600; t += 25) append(cache, child, other, {t, std::min<std::int64_t>(25, 600 - t)}, threads);
    EXPECT_TRUE(page_bytes(cache, parent) == bytes) << GetParam() << ", length " << length;
    EXPECT_TRUE(outputs(cache, parent, threads) == out) << GetParam() << ", length " << length;
    // The other way round: the parent goes on as if there had been no fork, and the child does not notice.
    const std::string child_bytes = page_bytes(cache, child);
    append(cache, parent, tokens, {length, 600 - length}, threads);
    const SequenceId alone = cache.create();
    append(cache, alone, tokens, {0, 600}, threads);
    EXPECT_TRUE(page_bytes(cache, parent) == page_bytes(cache, alone)) << GetParam() << ", length " << length;
    EXPECT_TRUE(outputs(cache, parent, threads) == outputs(cache, alone, threads)) << GetParam() << ", length " << length;
    EXPECT_TRUE(page_bytes(cache, child) == child_bytes) << GetParam() << ", length " << length;
  }
}

// A fork in the middle of a layer-by-layer prompt: layer 0 is ahead, and both sides go on with other tokens.
TEST_P(Sequences, ForkWithLayersOfDifferentLength) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(13, config, 400), other = random_tokens(14, config, 400);
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId parent = cache.create();
  append_layer(cache, parent, 0, tokens, {0, 300}, threads);
  append_layer(cache, parent, 1, tokens, {0, 130}, threads);
  EXPECT_EQ(cache.num_tokens(parent), 130);
  EXPECT_EQ(cache.num_tokens(parent, 0), 300);
  const SequenceId child = cache.fork(parent);
  append_layer(cache, parent, 1, tokens, {130, 170}, threads);
  append_layer(cache, child, 1, other, {130, 170}, threads);
  const SequenceId straight = cache.create(), mixed = cache.create();
  append(cache, straight, tokens, {0, 300}, threads);
  append_layer(cache, mixed, 0, tokens, {0, 300}, threads);
  append_layer(cache, mixed, 1, tokens, {0, 130}, threads);
  append_layer(cache, mixed, 1, other, {130, 170}, threads);
  EXPECT_TRUE(page_bytes(cache, parent) == page_bytes(cache, straight)) << GetParam();
  EXPECT_TRUE(page_bytes(cache, child) == page_bytes(cache, mixed)) << GetParam();
  EXPECT_TRUE(outputs(cache, child, threads) == outputs(cache, mixed, threads)) << GetParam();
}

TEST_P(Sequences, TruncateToEveryKindOfLengthAndRegrow) {
  const CacheConfig config = cache_config(GetParam());
  const Tokens tokens = random_tokens(15, config, 450);
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId whole = cache.create();
  append(cache, whole, tokens, {0, 450}, threads);
  const std::string wanted = page_bytes(cache, whole);
  const std::vector<Attended> wanted_out = outputs(cache, whole, threads);
  for (const std::int64_t length : {0, 1, 3, 4, 5, 127, 128, 129, 256, 300, 384, 385, 449, 450}) {
    const SequenceId id = cache.fork(whole);
    cache.truncate(id, length);
    EXPECT_EQ(cache.num_tokens(id), length);
    const std::string kept = page_bytes(cache, id);
    EXPECT_EQ(kept.size(), static_cast<std::size_t>(length / kTokensPerPage * 4 * cache.page_bytes(0))) << length;
    append(cache, id, tokens, {length, 450 - length}, threads);
    EXPECT_TRUE(page_bytes(cache, whole) == wanted) << GetParam() << ": the other owner changed, length " << length;
    // Exact again when nothing was cut out of a sealed page.
    if (length % kTokensPerPage == 0 || length >= 384) {
      EXPECT_TRUE(page_bytes(cache, id) == wanted) << GetParam() << ", length " << length;
      EXPECT_TRUE(outputs(cache, id, threads) == wanted_out) << GetParam() << ", length " << length;
    }
    cache.drop(id);
  }
  EXPECT_EQ(cache.free_pages(), config.max_pages - 3);
}

INSTANTIATE_TEST_SUITE_P(Presets, Sequences, testing::Values("k2v2", "k3v2", "k4v4", "f16", "paper"),
                         [](const auto& preset) { return preset.param; });

// A cut inside a sealed page leaves the decoded numbers as exact rows: attention then equals softmax over them.
TEST(Sequences, TruncateInsideAPageKeepsDecodedNumbersAndExactSinks) {
  const CacheConfig config = cache_config("k4v4");
  const Tokens tokens = random_tokens(16, config, 256);
  ThreadPool threads(1);
  KvCache cache(config), rows(config);
  const SequenceId id = cache.create(), copy = rows.create();
  append(cache, id, tokens, {0, 256}, threads);
  const PageCodec codec(config.head_dim, config.codec);
  Tokens decoded = tokens;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 2; ++head) {
      const KvCache::PageBytes bytes = cache.page(id, static_cast<int>(layer), head, 0);
      const EncodedPage page{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
      const std::vector<float> keys = codec.decode_keys(page), values = codec.decode_values(page);
      const std::size_t first = tokens.keys[layer].at(head, 0);
      for (int i = config.codec.sink_tokens * config.head_dim; i < 100 * config.head_dim; ++i) {
        decoded.keys[layer].set(first + i, keys[static_cast<std::size_t>(i)]);
        decoded.values[layer].set(first + i, values[static_cast<std::size_t>(i)]);
      }
    }
  }
  cache.truncate(id, 100);
  append(rows, copy, decoded, {0, 100}, threads);
  EXPECT_TRUE(outputs(cache, id, threads) == outputs(rows, copy, threads));
  EXPECT_EQ(cache.memory_report().sinks, 0) << "sinks are ordinary rows again";
}

TEST(Sequences, DropGivesPagesBackWhenTheLastForkGoes) {
  const CacheConfig config = cache_config("k3v2", 64, 8);
  const Tokens tokens = random_tokens(17, config, 1024);
  ThreadPool threads(1);
  KvCache cache(config);
  const SequenceId a = cache.create();
  append(cache, a, tokens, {0, 700}, threads);
  const SequenceId b = cache.fork(a);
  EXPECT_EQ(cache.free_pages(), 3);
  cache.drop(a);
  EXPECT_EQ(cache.free_pages(), 3);
  cache.truncate(b, 200);
  EXPECT_EQ(cache.free_pages(), 7);
  cache.drop(b);
  EXPECT_EQ(cache.free_pages(), 8);
  EXPECT_EQ(cache.memory_report().num_tokens, 0);
  EXPECT_EQ(cache.memory_report().sealed_pages, 0);
  EXPECT_EQ(cache.memory_report().tails + cache.memory_report().sinks, 0);
  const SequenceId c = cache.create();
  EXPECT_NE(c, a);
  EXPECT_NE(c, b);
  append(cache, c, tokens, {0, 1024}, threads);
  EXPECT_EQ(cache.free_pages(), 0);
}

TEST(Sequences, ReserveTakesPagesThatLaterAppendsUse) {
  const CacheConfig config = cache_config("k3v2", 64, 4);
  const Tokens tokens = random_tokens(18, config, 600);
  ThreadPool threads(1);
  KvCache cache(config);
  const SequenceId a = cache.create(), b = cache.create();
  cache.reserve(a, 400);
  EXPECT_EQ(cache.free_pages(), 1);
  EXPECT_EQ(cache.memory_report().sealed_pages, 0) << "a reserved page holds no memory yet";
  const std::string text = error_of([&] { append(cache, b, tokens, {0, 300}, threads); }, ErrorKind::out_of_pages);
  EXPECT_EQ(text, "[append] 2 pages are wanted, 1 of 4 are free");
  append(cache, a, tokens, {0, 400}, threads);
  EXPECT_EQ(cache.free_pages(), 1);
  cache.reserve(a, 100);
  EXPECT_EQ(error_of([&] { cache.reserve(a, 700); }, ErrorKind::out_of_pages), "[reserve] 2 pages are wanted, 1 of 4 are free");
  EXPECT_EQ(cache.free_pages(), 1);
}

}  // namespace
}  // namespace qjl::test
