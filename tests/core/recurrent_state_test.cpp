// What layers without keys keep of a sequence goes where the sequence goes, and never to a length that it does not tell of.
#include <gtest/gtest.h>

#include <filesystem>

#include "cache_fixtures.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/moves.hpp"
#include "qjl/paged.hpp"

namespace qjl::test {
namespace {

constexpr std::int64_t kNumbers = 12;

CacheConfig with_state(std::int64_t numbers = kNumbers) {
  CacheConfig config = cache_config("k3v2", 64, 8, 2);
  config.recurrent_numbers = numbers;
  return config;
}

std::vector<float> state_of(const KvCache& cache, SequenceId id) {
  const std::span<const float> state = cache.recurrent_state(id);
  return state.empty() ? std::vector<float>(kNumbers, 0.0f) : std::vector<float>(state.begin(), state.end());
}

void set_state(KvCache& cache, SequenceId id, float number) {
  std::vector<float> state(kNumbers, number);
  cache.set_recurrent_state(id, state);
}

struct RecurrentState : testing::Test {
  CacheConfig config = with_state();
  Tokens tokens = random_tokens(1, config, 300);
  ThreadPool threads{2};
  KvCache cache{config};
  SequenceId id = cache.create();

  void SetUp() override {
    append(cache, id, tokens, {0, 200}, threads);
    set_state(cache, id, 2.0f);
  }
};

TEST_F(RecurrentState, BeginsWithZerosAndTellsItsLength) {
  const SequenceId fresh = cache.create();
  EXPECT_EQ(state_of(cache, fresh), std::vector<float>(kNumbers, 0.0f));
  EXPECT_EQ(cache.recurrent_tokens(fresh), 0);
  EXPECT_EQ(cache.recurrent_tokens(id), 200);
  append(cache, id, tokens, {200, 10}, threads);
  EXPECT_EQ(cache.recurrent_tokens(id), 200) << "until it is set anew";
  std::vector<float> next(kNumbers, 3.0f);
  cache.set_recurrent_state(id, next);
  EXPECT_EQ(next, std::vector<float>(kNumbers, 2.0f)) << "the old one";
  EXPECT_EQ(cache.recurrent_tokens(id), 210);
}

TEST_F(RecurrentState, AForkHasItsOwn) {
  const SequenceId fork = cache.fork(id);
  EXPECT_EQ(cache.recurrent_tokens(fork), 200);
  EXPECT_EQ(cache.memory_report().recurrent, kNumbers * 4) << "shared until one goes on";
  set_state(cache, id, 5.0f);
  EXPECT_EQ(state_of(cache, fork), std::vector<float>(kNumbers, 2.0f));
  EXPECT_EQ(state_of(cache, id), std::vector<float>(kNumbers, 5.0f));
  EXPECT_EQ(cache.memory_report().recurrent, 2 * kNumbers * 4);
}

TEST_F(RecurrentState, IsCutToItsOwnLengthOrNone) {
  const std::string bytes = page_bytes(cache, id);
  for (const std::int64_t length : {128, 199, 1}) {
    EXPECT_FALSE(cache.can_truncate(id, length));
    EXPECT_EQ(error_of([&] { cache.truncate(id, length); }, ErrorKind::unsupported),
              "[truncate] num_tokens is " + std::to_string(length) +
                  ", wanted 0 or 200: the sequence's recurrent state is that after 200 tokens and does not go back");
  }
  EXPECT_TRUE(page_bytes(cache, id) == bytes);
  EXPECT_EQ(cache.num_tokens(id), 200);
  append_layer(cache, id, 0, tokens, {200, 60}, threads);  // a pass that stops between layers
  EXPECT_TRUE(cache.can_truncate(id, 200));
  cache.truncate(id, 200);
  EXPECT_EQ(cache.num_tokens(id, 0), 200);
  EXPECT_EQ(state_of(cache, id), std::vector<float>(kNumbers, 2.0f));
  cache.truncate(id, 0);
  EXPECT_EQ(state_of(cache, id), std::vector<float>(kNumbers, 0.0f));
  EXPECT_EQ(cache.recurrent_tokens(id), 0);
}

TEST_F(RecurrentState, MovesWithTheSequence) {
  KvCache other(config);
  const SequenceId copy = copy_sequence(cache, id, other);
  EXPECT_EQ(state_of(other, copy), std::vector<float>(kNumbers, 2.0f));
  EXPECT_EQ(other.recurrent_tokens(copy), 200);
  const SequenceId onto = other.create();
  extend_sequence(cache, id, other, onto);
  EXPECT_EQ(state_of(other, onto), std::vector<float>(kNumbers, 2.0f));
  EXPECT_EQ(other.recurrent_tokens(onto), 200);
  KvCache without(with_state(0));
  EXPECT_NE(error_of([&] { copy_sequence(cache, id, without); }).find("recurrent numbers"), std::string::npos);
}

TEST_F(RecurrentState, IsCountedAndGoesWithADrop) {
  const MemoryReport report = cache.memory_report();
  EXPECT_GE(report.recurrent, kNumbers * 4);
  EXPECT_EQ(report.total(), report.sealed_pages + report.free_pages + report.sinks + report.tails + report.page_tables +
                                report.codec_tables + report.scratch + report.recurrent);
  EXPECT_DOUBLE_EQ(cache.bits(), 8.0 * static_cast<double>(report.total() - report.recurrent) /
                                     (2.0 * 200 * config.num_layers * config.num_kv_heads * config.head_dim));
  cache.drop(id);
  EXPECT_EQ(cache.memory_report().recurrent, 0);
}

TEST_F(RecurrentState, IsSavedWithItsTokens) {
  const std::string path = testing::TempDir() + "recurrent_state_test.qjlkv.safetensors";
  const SequenceId fresh = cache.create(), both[] = {id, fresh};
  save_cache(path, cache, both);
  const CacheFile file(path);
  EXPECT_EQ(file.config().recurrent_numbers, kNumbers);
  const LoadedCache loaded = file.load(8);
  EXPECT_EQ(state_of(*loaded.cache, loaded.sequences[0]), std::vector<float>(kNumbers, 2.0f));
  EXPECT_EQ(loaded.cache->recurrent_tokens(loaded.sequences[0]), 200);
  EXPECT_EQ(state_of(*loaded.cache, loaded.sequences[1]), std::vector<float>(kNumbers, 0.0f));
  file.check_model(config);
  EXPECT_NE(error_of([&] { file.check_model(with_state(0)); }).find("recurrent_numbers is 12, wanted 0"), std::string::npos);
  append(cache, id, tokens, {200, 1}, threads);
  EXPECT_EQ(error_of([&] { save_cache(path, cache, {&id, 1}); }),
            "[save_cache] a sequence of 201 tokens has a recurrent state after 200, wanted one after all");
  set_state(cache, id, NAN);
  save_cache(path, cache, {&id, 1});
  EXPECT_NE(error_of([&] { CacheFile(path).load(); }, ErrorKind::bad_file).find("a recurrent state has NaN"), std::string::npos);
  std::filesystem::remove(path);
}

TEST_F(RecurrentState, WhatWouldLoseItIsRefused) {
  const SequenceId onto = cache.create();
  append(cache, onto, tokens, {0, 128}, threads);
  EXPECT_NE(error_of([&] { cache.extend(onto, id, 128); }, ErrorKind::unsupported)
                .find("[extend] found sequences with a recurrent state"),
            std::string::npos);
  std::vector<float> few(3);
  EXPECT_EQ(error_of([&] { cache.set_recurrent_state(id, few); }), "[set_recurrent_state] found 3 numbers, wanted 12");
  EXPECT_NE(error_of([&] { KvCache bad(with_state(-1)); }).find("recurrent_numbers is -1"), std::string::npos);
  EXPECT_NE(error_of([&] { PagedCache paged(config); }).find("recurrent_numbers"), std::string::npos);
}

}  // namespace
}  // namespace qjl::test
