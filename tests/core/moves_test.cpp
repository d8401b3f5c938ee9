// Sequences from one cache of the host to another: pages, sinks and open rows as they are, whole or beyond what is there. On GPUs:
// cuda_moves_test.cpp.
#include "qjl/moves.hpp"

#include <gtest/gtest.h>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

struct MovesTest : testing::TestWithParam<std::string> {
  CacheConfig config{.num_layers = 2,
                     .num_kv_heads = 2,
                     .head_dim = 64,
                     .max_pages = 8,
                     .codec = codec_config(GetParam()),
                     .layer_codes = {},
                     .on_seal = {}};
  ThreadPool threads{2};
  const Tokens tokens = random_tokens(1, config, 700);

  SequenceId filled(KvCache& cache, std::int64_t count) {
    const SequenceId id = cache.create();
    append(cache, id, tokens, {0, count}, threads);
    return id;
  }
  void expect_same(const KvCache& found, SequenceId at, const KvCache& wanted, SequenceId id, const std::string& what) {
    EXPECT_EQ(found.num_tokens(at), wanted.num_tokens(id)) << what;
    EXPECT_EQ(page_bytes(found, at), page_bytes(wanted, id)) << what;
    EXPECT_EQ(outputs(found, at, threads), outputs(wanted, id, threads)) << what;
  }
};

TEST_P(MovesTest, ACopyIsTheSame) {
  for (const std::int64_t count : {0, 100, 256, 300}) {
    KvCache from(config), to(config);
    const SequenceId source = filled(from, count);
    expect_same(to, copy_sequence(from, source, to), from, source, std::to_string(count));
  }
}

TEST_P(MovesTest, ExtendedSequencesShareTheirBeginningAndGoOn) {
  for (const std::int64_t count : {100, 384, 500}) {
    for (std::int64_t had = 0; had <= count; had += 128) {
      const std::string what = std::to_string(count) + " beyond " + std::to_string(had);
      KvCache from(config), to(config);
      const SequenceId source = filled(from, count), other = filled(to, 384), onto = to.fork(other);
      to.truncate(onto, had);
      const std::int64_t free = to.free_pages();
      extend_sequence(from, source, to, onto);
      EXPECT_EQ(free - to.free_pages(), count / 128 - had / 128) << what;
      expect_same(to, onto, from, source, what);
      append(from, source, tokens, {count, 150}, threads);
      append(to, onto, tokens, {count, 150}, threads);
      expect_same(to, onto, from, source, what + ", longer");
      EXPECT_EQ(to.num_tokens(other), 384) << what;
    }
  }
}

TEST_P(MovesTest, WithinACachePagesAreShared) {
  KvCache cache(config);
  const SequenceId whole = filled(cache, 500), part = filled(cache, 128);
  const std::int64_t free = cache.free_pages();
  cache.extend(part, whole, 384);
  EXPECT_EQ(cache.free_pages(), free);
  const SequenceId wanted = cache.fork(whole);
  cache.truncate(wanted, 384);
  expect_same(cache, part, cache, wanted, "extended");
  cache.drop(whole);
  cache.drop(wanted);
  append(cache, part, tokens, {384, 200}, threads);
  KvCache other(config);
  expect_same(cache, part, other, filled(other, 584), "and longer");
  const SequenceId open = filled(other, 100), empty = other.create(), source = filled(other, 256);
  EXPECT_NE(error_of([&] { other.extend(open, source, 256); }).find("100 tokens"), std::string::npos);
  EXPECT_NE(error_of([&] { other.extend(empty, source, 256); }).find("0 tokens"), std::string::npos);
  EXPECT_NE(error_of([&] { other.extend(source, open, 384); }).find("from 256 to 100"), std::string::npos);
}

TEST_P(MovesTest, WhatCannotBeExtendedStays) {
  KvCache from(config), to(config);
  const SequenceId source = filled(from, 300), open = filled(to, 100), longer = filled(to, 384);
  EXPECT_NE(
      error_of([&] { extend_sequence(from, source, to, open); }).find("[extend_sequence] the sequence to extend has 100 tokens"),
      std::string::npos);
  EXPECT_NE(error_of([&] { extend_sequence(from, source, to, longer); }).find("384 tokens"), std::string::npos);
  CacheConfig small = config;
  small.max_pages = 1;
  KvCache full(small);
  const SequenceId empty = full.create();
  EXPECT_NE(error_of([&] { extend_sequence(from, source, full, empty); }, ErrorKind::out_of_pages), "");
  EXPECT_EQ(full.num_tokens(empty), 0);
  EXPECT_EQ(full.free_pages(), 1);
}

TEST_P(MovesTest, PagesReservedBeyondAnExtensionStay) {
  KvCache cache(config);
  const SequenceId whole = filled(cache, 384), part = filled(cache, 128);
  cache.reserve(part, 512);
  EXPECT_EQ(cache.free_pages(), 8 - 3 - 4);
  cache.extend(part, whole, 384);
  EXPECT_EQ(cache.free_pages(), 8 - 3 - 1 - 1);  // page 0, and the one beyond
  const SequenceId other = filled(cache, 3 * 128);
  EXPECT_EQ(cache.free_pages(), 0);
  append(cache, part, tokens, {384, 128}, threads);
  cache.drop(whole);
  cache.drop(other);
  cache.drop(part);
  EXPECT_EQ(cache.free_pages(), 8);
}

TEST_P(MovesTest, TrimLeavesPagesThatAreUsed) {
  KvCache cache(config);
  const SequenceId kept = filled(cache, 300), dropped = filled(cache, 600);
  cache.drop(dropped);
  const std::string bytes = page_bytes(cache, kept);
  const MemoryReport before = cache.memory_report();
  cache.trim();
  const MemoryReport after = cache.memory_report();
  EXPECT_EQ(page_bytes(cache, kept), bytes);
  EXPECT_EQ(after.sealed_pages, before.sealed_pages);
  EXPECT_LT(after.free_pages, before.free_pages);
  KvCache other(config);
  expect_same(cache, filled(cache, 600), other, filled(other, 600), "after a trim");
  EXPECT_EQ(page_bytes(cache, kept), bytes);
}

INSTANTIATE_TEST_SUITE_P(Types, MovesTest, testing::Values("k3v2", "f16", "paper"));

}  // namespace
}  // namespace qjl::test
