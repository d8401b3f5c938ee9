// attend() against a plain softmax in doubles over the numbers that the cache stands for (expect_attended.hpp gives the bound).
#include <gtest/gtest.h>

#include "expect_attended.hpp"

namespace qjl::test {
namespace {

constexpr std::int64_t kLengths[] = {0, 1, 127, 128, 129, 1000};

void check_lengths(const CacheConfig& config, int group, int num_threads, const AttendOptions& options = {}) {
  const Tokens tokens = random_tokens(41, config, 1000);
  ThreadPool threads(num_threads);
  KvCache cache(config);
  const SequenceId id = cache.create();
  std::int64_t length = 0;
  for (const std::int64_t wanted : kLengths) {
    append(cache, id, tokens, {length, wanted - length}, threads);
    length = wanted;
    const Rows queries = random_rows(42, group * config.num_kv_heads, 3, config.head_dim, 0.0);
    const Attended found = attend_one(cache, 1, id, queries, threads, options);
    const std::string what = cache_type_name(config.codec) + ", head_dim " + std::to_string(config.head_dim) + ", group " +
                             std::to_string(group) + ", " + std::to_string(num_threads) + " threads, length " +
                             std::to_string(length);
    expect_attended({cache, id, 1, tokens, length, queries, length - 3, options}, found, what);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Attend, AllPresets) {
  for (const std::string& preset : kPresets) check_lengths(cache_config(preset), 3, 1);
}

TEST(Attend, AllHeadDimensions) {
  for (const int head_dim : {64, 80, 96, 128, 256}) {
    for (const char* preset : {"k2v2", "k3v2", "k4v3"}) check_lengths(cache_config(preset, head_dim), 2, 1);
  }
  for (const int head_dim : {32, 48, 112, 320, 512}) check_lengths(cache_config("f16", head_dim), 2, 1);
}

TEST(Attend, AllGroupSizes) {
  for (const int group : {1, 3, 8, 32, 40}) check_lengths(cache_config("k3v2"), group, 1);
}

TEST(Attend, SplitOverThreads) {
  CacheConfig config = cache_config("k3v2");
  config.num_kv_heads = 1;  // few blocks, so that pages are cut
  config.max_pages = 64;
  const Tokens tokens = random_tokens(43, config, 5000);
  ThreadPool one(1), four(4);
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 5000}, four);
  const Rows queries = random_rows(44, 4, 1, 64, 0.0);
  expect_attended({cache, id, 1, tokens, 5000, queries, 4999}, attend_one(cache, 1, id, queries, one), "one thread");
  const Attended found = attend_one(cache, 1, id, queries, four);
  expect_attended({cache, id, 1, tokens, 5000, queries, 4999}, found, "four threads");
  for (int round = 0; round < 20; ++round) EXPECT_TRUE(attend_one(cache, 1, id, queries, four) == found) << "round " << round;
}

TEST(Attend, ScaleSoftCapAndSlidingWindow) {
  const CacheConfig config = cache_config("k3v2");
  for (const AttendOptions& options :
       {AttendOptions{.softmax_scale = 0.3f}, AttendOptions{.softmax_scale = -0.05f}, AttendOptions{.logit_soft_cap = 2.0f},
        AttendOptions{.sliding_window = 1}, AttendOptions{.sliding_window = 5}, AttendOptions{.sliding_window = 128},
        AttendOptions{.sliding_window = 999},
        AttendOptions{.softmax_scale = 0.2f, .logit_soft_cap = 30.0f, .sliding_window = 300}}) {
    for (const int threads : {1, 3}) check_lengths(config, 3, threads, options);
    if (HasFatalFailure()) FAIL() << options.softmax_scale << ' ' << options.logit_soft_cap << ' ' << options.sliding_window;
  }
}

// A new chunk, exact and causal inside, behind what is cached; then the same tokens one by one. No page is sealed meanwhile, so
// both ways see the same numbers.
void check_chunk(const char* preset, int cached, int count) {
  const CacheConfig config = cache_config(preset);
  const Tokens tokens = random_tokens(45, config, cached + count);
  const Rows queries = random_rows(46, 6, count, 64, 0.0);
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, cached}, threads);
  const Rows keys = part_of(tokens.keys[1], cached, count), values = part_of(tokens.values[1], cached, count);
  const Attended chunk = attend_one(cache, 1, id, queries, threads, {}, &keys, &values);
  Attended singles = chunk;
  for (int t = 0; t < count; ++t) {
    append_layer(cache, id, 1, tokens, {cached + t, 1}, threads);
    const Attended single = attend_one(cache, 1, id, part_of(queries, t, 1), threads);
    for (int head = 0; head < queries.heads; ++head) {
      const auto row = static_cast<std::size_t>(head * count + t);
      singles.lse[row] = single.lse[static_cast<std::size_t>(head)];
      std::copy_n(single.out.begin() + head * 64, 64, singles.out.begin() + static_cast<std::ptrdiff_t>(row) * 64);
    }
  }
  const Asked asked{cache, id, 1, tokens, cached + count, queries, cached};
  const std::string what = std::string(preset) + ": " + std::to_string(cached) + " cached, " + std::to_string(count);
  expect_attended(asked, chunk, what + " in one chunk");
  expect_attended(asked, singles, what + " one by one");
}

TEST(Attend, ChunkEqualsTokenByToken) {
  for (const char* preset : {"k2v2", "k3v2", "f16", "paper"}) {
    for (const int cached : {0, 3, 128, 150, 256}) {
      for (const int count : {1, 40, 100}) check_chunk(preset, cached, count);
    }
  }
}

TEST(Attend, NothingInReachGivesZeroAndMinusInfinity) {
  const CacheConfig config = cache_config("k3v2");
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId id = cache.create();
  const Rows queries = random_rows(47, 6, 4, 64);
  Attended found = attend_one(cache, 0, id, queries, threads);
  for (const float number : found.out) EXPECT_EQ(number, 0.0);
  for (const float number : found.lse) EXPECT_EQ(number, -INFINITY);
  append(cache, id, random_tokens(48, config, 2), {0, 2}, threads);
  found = attend_one(cache, 0, id, queries, threads);  // queries 0 and 1 stand before the sequence
  for (std::size_t head = 0; head < 6; ++head) {
    for (std::size_t query = 0; query < 4; ++query) EXPECT_EQ(std::isfinite(found.lse[head * 4 + query]), query >= 2);
  }
  const Rows none = random_rows(49, 6, 0, 64);
  EXPECT_TRUE(attend_one(cache, 0, id, none, threads).out.empty());
  AttendPlan plan;
  EXPECT_NO_THROW(attend(cache, 0, {}, {}, plan, threads));
}

TEST(Attend, ManySequencesAtOnceEqualEachAlone) {
  const CacheConfig config = cache_config("k3v2", 64, 64);
  ThreadPool one(1), three(3);
  KvCache cache(config);
  const Tokens tokens = random_tokens(50, config, 900);
  std::vector<SequenceId> ids;
  std::vector<Rows> queries;
  std::vector<Attended> together;
  for (int i = 0; i < 8; ++i) {
    ids.push_back(cache.create());
    append(cache, ids.back(), tokens, {0, i * 128 - (i > 0 ? i : 0)}, one);
    queries.push_back(random_rows(60 + static_cast<std::uint64_t>(i), 6, 1 + i % 3, 64, 0.0));
    together.push_back({std::vector<float>(queries.back().number.size()), std::vector<float>(queries.back().number.size() / 64)});
  }
  AttendPlan plan;
  for (ThreadPool* threads : {&one, &three}) {
    std::vector<AttendRequest> requests;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const Rows& q = queries[i];
      requests.push_back({ids[i],
                          q.view(),
                          {},
                          {},
                          OutputView::contiguous(together[i].out.data(), q.heads, q.tokens, q.d),
                          together[i].lse.data()});
    }
    attend(cache, 0, requests, {}, plan, *threads);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int64_t length = cache.num_tokens(ids[i]);
      expect_attended({cache, ids[i], 0, tokens, length, queries[i], length - queries[i].tokens}, together[i],
                      "sequence " + std::to_string(i));
      if (threads != &one) continue;  // pages are cut by the work of the whole call, so only then is the order of sums the same
      EXPECT_TRUE(attend_one(cache, 0, ids[i], queries[i], one) == together[i]) << "sequence " << i;
    }
  }
  EXPECT_GT(plan.bytes(), 0);
}

// Number formats of queries and tail, and token-major outputs with gaps.
TEST(Attend, SixteenBitQueriesAndBfloatTails) {
  CacheConfig config = cache_config("k4v4");
  config.tail_dtype = DType::bf16;
  Tokens tokens = random_tokens(51, config, 300);
  for (std::vector<Rows>* side : {&tokens.keys, &tokens.values}) {
    for (Rows& rows : *side) rows.transform(oracle::round_to_bfloat);
  }
  ThreadPool threads(2);
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens, {0, 300}, threads);
  Rows queries = random_rows(52, 4, 2, 64, 0.0);
  queries.transform(oracle::round_to_bfloat);  // exact in all three formats
  const Attended wanted = attend_one(cache, 0, id, queries, threads);
  expect_attended({cache, id, 0, tokens, 300, queries, 298}, wanted, "bf16 tail");
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Rows narrow = make_rows(dtype, 4, 2, 64, queries.number);
    std::vector<float> out(2 * 4 * 70, 5.0f);
    AttendRequest request;
    request.sequence = id;
    request.queries = narrow.view();
    request.out = {out.data(), 4, 2, 64, 70, 4 * 70, Device::cpu()};
    AttendPlan plan;
    attend(cache, 0, {&request, 1}, {}, plan, threads);
    for (std::size_t head = 0; head < 4; ++head) {
      for (std::size_t query = 0; query < 2; ++query) {
        for (std::size_t c = 0; c < 70; ++c) {
          EXPECT_EQ(out[query * 280 + head * 70 + c], c < 64 ? wanted.out[(head * 2 + query) * 64 + c] : 5.0f)
              << head << ' ' << query << ' ' << c;
        }
      }
    }
  }
}

}  // namespace
}  // namespace qjl::test
