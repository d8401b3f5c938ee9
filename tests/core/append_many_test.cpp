// KvCache::append of many sequences at once: the bytes of one after the other, and an error of any leaves all as they were.
#include <gtest/gtest.h>

#include <limits>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

struct Scene {
  CacheConfig config = cache_config("k3v2", 64, 8);
  Tokens tokens = random_tokens(41, config, 600);
  ThreadPool threads{2};
  KvCache cache{config};
  SequenceId a = cache.create(), b = cache.create();

  Scene() {
    append(cache, a, tokens, {0, 120}, threads);
    append(cache, b, tokens, {0, 250}, threads);
  }
  AppendRequest request(SequenceId id, std::int64_t first, std::int64_t count) const {
    return {id, tokens.keys[0].view(first, count), tokens.values[0].view(first, count)};
  }
  std::string bytes() const {
    std::string all;
    for (const SequenceId id : {a, b}) all += page_bytes(cache, id) + std::to_string(cache.num_tokens(id, 0)) + ",";
    return all + std::to_string(cache.free_pages());
  }
};

TEST(AppendMany, TheBytesOfOneAfterTheOther) {
  Scene many, single;
  const AppendRequest requests[] = {many.request(many.a, 120, 20), many.request(many.b, 250, 200), many.request(many.a, 0, 0)};
  const AppendRequest two[] = {requests[0], requests[1]};
  many.cache.append(two, 0, many.threads);
  append_layer(single.cache, single.a, 0, single.tokens, {120, 20}, single.threads);
  append_layer(single.cache, single.b, 0, single.tokens, {250, 200}, single.threads);
  EXPECT_EQ(many.bytes(), single.bytes());
  EXPECT_EQ(many.cache.num_tokens(many.b, 0), 450);
  EXPECT_EQ(many.cache.num_tokens(many.b, 1), 250) << "the other layer is as it was";
  many.cache.append({}, 0);
  EXPECT_EQ(many.bytes(), single.bytes());
  const std::string text = error_of([&] { many.cache.append(requests, 0, many.threads); });
  EXPECT_EQ(text, "[append] sequence 1 comes twice, wanted each sequence once");
  EXPECT_EQ(many.bytes(), single.bytes());
}

TEST(AppendMany, AnErrorOfOneLeavesAllAsTheyWere) {
  Scene s;
  const std::string before = s.bytes();
  const auto error = [&](const AppendRequest& last, ErrorKind kind = ErrorKind::invalid_argument) {
    const AppendRequest requests[] = {s.request(s.a, 120, 200), last};
    const std::string text = error_of([&] { s.cache.append(requests, 0, s.threads); }, kind);
    EXPECT_EQ(s.bytes(), before) << text;
    return text;
  };
  // 8 pages in all, 1 in use; 2 for the first sequence leave 5, and each request alone would fit.
  const Rows long_rows = random_rows(42, 2, 800, 64);
  EXPECT_EQ(error({s.b, long_rows.view(), long_rows.view()}, ErrorKind::out_of_pages),
            "[append] 9 pages are wanted, 7 of 8 are free");
  Rows wrong = random_rows(43, 2, 10, 64);
  wrong.set(wrong.at(1, 7, 5), std::numeric_limits<double>::infinity());
  EXPECT_EQ(error({s.b, wrong.view(), wrong.view()}),
            "[append] keys hold inf at head 1, token 7, channel 5, wanted finite numbers that the 16-bit format can hold");
  EXPECT_EQ(error({SequenceId{9}, wrong.view(), wrong.view()}),
            "[append] sequence 9 does not exist, wanted one of the 2 that live");
  EXPECT_EQ(error({s.b, wrong.view(), wrong.view(0, 3)}), "[append] values have 3 tokens, wanted 10 as the keys");
}

}  // namespace
}  // namespace qjl::test
