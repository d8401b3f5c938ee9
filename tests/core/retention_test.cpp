// Layers that forget (CacheConfig::layer_retention) against the same layers that keep all: what a query sees is the same bit for bit,
// pages come back, and what would need forgotten tokens is refused before anything changes.
#include <gtest/gtest.h>

#include <map>

#include "cache_fixtures.hpp"
#include "qjl/moves.hpp"

namespace qjl::test {
namespace {

constexpr int kDim = 64;
constexpr std::int64_t kPage = kTokensPerPage;

// Layers 1 and 3 are a group; layer 2 keeps a page, the least.
CacheConfig forgetting_config(const std::string& type, std::int64_t max_pages = 64) {
  CacheConfig config = cache_config(type, kDim, max_pages, 4);
  config.layer_windows = {0, 150, 20, 100};
  config.layer_retention = {0, 150, 20, 150};
  return config;
}

CacheConfig keeping(CacheConfig config) {
  config.layer_retention.clear();
  return config;
}

std::int64_t first_kept_of(std::int64_t tokens, std::int64_t retention) {
  return std::max<std::int64_t>(0, tokens - std::max(retention, kPage)) / kPage * kPage;
}

// The same sequences in both caches.
class Pair {
 public:
  explicit Pair(const CacheConfig& config)
      : forgetting_(config), keeping_(keeping(config)), tokens_(random_tokens(3, config, kTokens)), config_(config) {}

  static constexpr int kTokens = 2000;

  void create() { ids_[forgetting_.create()] = keeping_.create(); }
  void fork(SequenceId id) { ids_[forgetting_.fork(id)] = keeping_.fork(ids_.at(id)); }
  void drop(SequenceId id) {
    forgetting_.drop(id);
    keeping_.drop(ids_.at(id));
    ids_.erase(id);
  }
  void append(SequenceId id, int layer, Part part) {
    append_layer(forgetting_, id, layer, tokens_, part, threads_);
    append_layer(keeping_, ids_.at(id), layer, tokens_, part, threads_);
  }
  // Cuts both, or is refused and changes nothing. Returns whether it cut.
  bool truncate(SequenceId id, std::int64_t tokens) {
    if (forgetting_.can_truncate(id, tokens)) {
      forgetting_.truncate(id, tokens);
      keeping_.truncate(ids_.at(id), tokens);
      return true;
    }
    const std::int64_t length = forgetting_.num_tokens(id), free = forgetting_.free_pages();
    EXPECT_NE(error_of([&] { forgetting_.truncate(id, tokens); }), "");
    EXPECT_EQ(forgetting_.num_tokens(id), length);
    EXPECT_EQ(forgetting_.free_pages(), free);
    return false;
  }
  // New queries with their own tokens, and those of the last token.
  void expect_same(SequenceId id, const std::string& what) {
    const Rows queries = random_rows(9, 4, 3, kDim, 0.0), last = random_rows(10, 4, 1, kDim, 0.0);
    const Rows keys = random_rows(11, 2, 3, kDim), values = random_rows(12, 2, 3, kDim);
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      const auto seen = [&](const KvCache& cache, SequenceId sequence) {
        return attend_one(cache, layer, sequence, queries, threads_, {}, &keys, &values);
      };
      const auto seen_last = [&](const KvCache& cache, SequenceId sequence) {
        return attend_one(cache, layer, sequence, last, threads_);
      };
      ASSERT_TRUE(seen(forgetting_, id) == seen(keeping_, ids_.at(id))) << what << ", layer " << layer;
      ASSERT_TRUE(seen_last(forgetting_, id) == seen_last(keeping_, ids_.at(id))) << what << ", layer " << layer;
    }
  }

  KvCache forgetting_, keeping_;
  Tokens tokens_;
  CacheConfig config_;
  std::map<SequenceId, SequenceId> ids_;
  ThreadPool threads_{2};
};

int below(Integers& random, std::int64_t count) { return static_cast<int>(random.bits(30) % static_cast<std::uint32_t>(count)); }

// Appends of all layers, in step or one layer after the other, each in pieces of its own or all in the same.
void append_all(Pair& pair, SequenceId id, std::int64_t count, Integers& random) {
  const std::int64_t before = pair.forgetting_.num_tokens(id);
  const int way = below(random, 3);
  const std::int64_t piece = way == 0 ? count : 1 + below(random, count);
  const auto append_layer_in = [&](int layer, std::int64_t step) {
    for (std::int64_t at = 0; at < count; at += step) pair.append(id, layer, {before + at, std::min(step, count - at)});
  };
  if (way == 2) {
    for (int layer = 0; layer < pair.config_.num_layers; ++layer) append_layer_in(layer, 1 + below(random, count));
    return;
  }
  for (std::int64_t at = 0; at < count; at += piece) {
    for (int layer = 0; layer < pair.config_.num_layers; ++layer)
      pair.append(id, layer, {before + at, std::min(piece, count - at)});
  }
}

class RetentionTest : public testing::TestWithParam<std::string> {};

TEST_P(RetentionTest, RandomSchedulesSeeWhatACacheThatKeepsAllSees) {
  int cuts = 0, refused = 0, forgotten = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Integers random(seed);
    Pair pair(forgetting_config(GetParam()));
    for (int step = 0; step < 25; ++step) {
      if (pair.ids_.empty()) pair.create();
      const SequenceId id = std::next(pair.ids_.begin(), below(random, std::ssize(pair.ids_)))->first;
      const std::int64_t length = pair.forgetting_.num_tokens(id);
      const int verb = below(random, 8);
      if (verb == 0 && pair.ids_.size() < 4) pair.create();
      if (verb == 1 && pair.ids_.size() < 4) pair.fork(id);
      if (verb == 2 && pair.ids_.size() > 2) pair.drop(id);
      if (verb == 3) (pair.truncate(id, std::max<std::int64_t>(0, length - below(random, 300))) ? cuts : refused) += 1;
      if (verb == 4) pair.forgetting_.reserve(id, length + below(random, 400));
      if (verb >= 5 && length < 1200) append_all(pair, id, 1 + below(random, 400), random);
      for (const auto& [each, other] : pair.ids_) {
        pair.expect_same(each, GetParam() + ", seed " + std::to_string(seed) + ", step " + std::to_string(step));
        if (testing::Test::HasFatalFailure()) return;
        for (int layer = 0; layer < 4; ++layer) {
          const std::int64_t kept = pair.config_.layer_retention[static_cast<std::size_t>(layer)];
          const std::int64_t first = pair.forgetting_.first_kept(each, layer);
          ASSERT_LE(first, kept == 0 ? 0 : std::max<std::int64_t>(0, pair.forgetting_.num_tokens(each) - kept));
          forgotten += first > 0;
        }
      }
    }
    while (!pair.ids_.empty()) pair.drop(pair.ids_.begin()->first);
    EXPECT_EQ(pair.forgetting_.free_pages(), 64) << "seed " << seed;
    EXPECT_EQ(pair.forgetting_.memory_report().sealed_pages, 0);
  }
  EXPECT_GT(cuts, 5);
  EXPECT_GT(refused, 5);
  EXPECT_GT(forgotten, 100);
}

INSTANTIATE_TEST_SUITE_P(Types, RetentionTest, testing::Values("k3v2", "f16", "paper"),
                         [](const auto& test) { return test.param; });

TEST(Retention, AWindowIsAllThatALongPromptTakes) {
  CacheConfig config = cache_config("k3v2", kDim, 4, 3);
  config.layer_retention = {256, 256, 256};
  const Tokens tokens = random_tokens(5, config, 40 * 128 + 30);
  ThreadPool threads(2);
  // Two whole pages and what is open; one page more for sinks, or for a piece on its way.
  for (const std::int64_t piece : {5150, 128, 100, 7}) {
    KvCache cache(config);
    const SequenceId id = cache.create();
    for (std::int64_t at = 0; at < 5150; at += piece) {
      const Part part{at, std::min<std::int64_t>(piece, 5150 - at)};
      cache.reserve(id, at + part.count);
      append(cache, id, tokens, part, threads);
    }
    EXPECT_EQ(cache.num_tokens(id), 5150);
    EXPECT_EQ(cache.first_kept(id, 2), first_kept_of(5150, 256)) << piece;
    EXPECT_EQ(cache.free_pages(), 4 - (5150 / kPage - first_kept_of(5150, 256) / kPage)) << piece;
    cache.drop(id);
    EXPECT_EQ(cache.free_pages(), 4);
  }
}

TEST(Retention, ReportsTellFullAndWindowedLayersApart) {
  const CacheConfig config = forgetting_config("k4v4");
  KvCache cache(config);
  ThreadPool threads(1);
  const SequenceId id = cache.create();
  append(cache, id, random_tokens(6, config, 1300), {0, 1300}, threads);
  const MemoryReport report = cache.memory_report();
  EXPECT_EQ(report.full.num_layers, 1);
  EXPECT_EQ(report.windowed.num_layers, 3);
  EXPECT_EQ(report.full.sealed_pages, 10 * cache.page_bytes(0) * 2);
  // (1300 - 150) / 128 = 8 and (1300 - 128) / 128 = 9 pages are forgotten of 10.
  EXPECT_EQ(report.windowed.sealed_pages, (2 + 2 + 1) * cache.page_bytes(1) * 2);
  EXPECT_EQ(report.windowed.kept_tokens, 2 * (1300 - 8 * kPage) + 1300 - 9 * kPage);
  EXPECT_EQ(report.full.sealed_pages + report.windowed.sealed_pages, report.sealed_pages);
  EXPECT_EQ(report.full.tails + report.windowed.tails, report.tails);
  EXPECT_EQ(report.num_tokens, 1300);
}

TEST(Retention, ForksKeepWhatTheOtherSideForgets) {
  CacheConfig config = cache_config("k3v2", kDim, 8, 2);
  config.layer_retention = {128, 128};
  const Tokens tokens = random_tokens(7, config, 700);
  ThreadPool threads(1);
  KvCache cache(config);
  const SequenceId parent = cache.create();
  append(cache, parent, tokens, {0, 256}, threads);
  const SequenceId child = cache.fork(parent);
  EXPECT_EQ(cache.free_pages(), 7);  // page 1
  append(cache, parent, tokens, {256, 400}, threads);
  EXPECT_EQ(cache.first_kept(parent, 0), 512);
  EXPECT_EQ(cache.first_kept(child, 0), 128);
  EXPECT_EQ(cache.free_pages(), 8 - 1 - 1);
  cache.truncate(child, 256);
  cache.drop(child);
  EXPECT_EQ(cache.free_pages(), 7);
  cache.drop(parent);
  EXPECT_EQ(cache.free_pages(), 8);
}

struct ForgottenTest : testing::Test {
  CacheConfig config = forgetting_config("k3v2");
  Tokens tokens = random_tokens(8, config, 1300);
  ThreadPool threads{1};
  KvCache cache{config};
  SequenceId id = cache.create();
  void SetUp() override { append(cache, id, tokens, {0, 1300}, threads); }
};

TEST_F(ForgottenTest, ACutThatNeedsThemIsRefused) {
  EXPECT_TRUE(cache.can_truncate(id, 1280));
  EXPECT_TRUE(cache.can_truncate(id, 0));
  EXPECT_FALSE(cache.can_truncate(id, 1301));
  EXPECT_FALSE(cache.can_truncate(id, 700));
  EXPECT_EQ(error_of([&] { cache.truncate(id, 700); }),
            "[truncate] a cut to 700 tokens needs tokens from 512 on, wanted from 1024 on: layer 1, which keeps the last 150, has "
            "forgotten those before");
  EXPECT_EQ(cache.num_tokens(id), 1300);
  cache.truncate(id, 1280);
  EXPECT_EQ(cache.num_tokens(id), 1280);
  cache.truncate(id, 0);
  append(cache, id, tokens, {0, 1300}, threads);
  EXPECT_EQ(cache.first_kept(id, 1), 1024);
}

TEST_F(ForgottenTest, SoAreQueriesReadsAndPages) {
  const Rows queries = random_rows(1, 2, 200, kDim, 0.0), one = random_rows(2, 2, 1, kDim, 0.0);
  EXPECT_EQ(
      error_of([&] { attend_one(cache, 1, id, queries, threads); }),
      "[attend] a query at position 1100 needs tokens from 951 on, wanted from 1024 on: layer 1, which keeps the last 150, has "
      "forgotten those before");
  EXPECT_NE(error_of([&] { attend_one(cache, 1, id, one, threads, {.sliding_window = kNoWindow}); }), "");
  EXPECT_EQ(error_of([&] { attend_one(cache, 1, id, one, threads); }), "");
  EXPECT_EQ(error_of([&] { attend_one(cache, 0, id, queries, threads, {.sliding_window = kNoWindow}); }), "");
  std::vector<float> keys(2 * 10 * kDim), values(keys.size());
  const auto read = [&](int layer, std::int64_t first) {
    cache.read(id, layer, first, OutputView::contiguous(keys.data(), 2, 10, kDim),
               OutputView::contiguous(values.data(), 2, 10, kDim));
  };
  EXPECT_NE(error_of([&] { read(1, 1020); }).find("[read] a stretch needs tokens from 1020 on, wanted from 1024 on"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { read(1, 1024); }), "");
  EXPECT_EQ(error_of([&] { read(0, 0); }), "");
  EXPECT_NE(error_of([&] { cache.page(id, 1, 0, 7); }).find("[page] page 7 needs tokens from 896 on"), std::string::npos);
  EXPECT_EQ(error_of([&] { cache.page(id, 1, 0, 8); }), "");
}

TEST_F(ForgottenTest, ANumberThatNoPageTakesIsLookedAtToo) {
  Tokens bad = random_tokens(8, config, 1300);
  const SequenceId other = cache.create();
  bad.keys[1].set(bad.keys[1].at(0, 500), NAN);
  const std::int64_t free = cache.free_pages();
  EXPECT_NE(error_of([&] { append_layer(cache, other, 1, bad, {0, 1300}, threads); }), "");
  EXPECT_EQ(cache.num_tokens(other, 1), 0);
  EXPECT_EQ(cache.free_pages(), free);
}

TEST_F(ForgottenTest, ACopyInAnotherCacheHasWhatIsLeft) {
  KvCache other(config);
  const SequenceId copy = copy_sequence(cache, id, other);
  EXPECT_EQ(other.first_kept(copy, 1), 1024);
  EXPECT_EQ(other.free_pages(), cache.free_pages());
  EXPECT_TRUE(outputs(other, copy, threads) == outputs(cache, id, threads));
  EXPECT_NE(error_of([&] {
              KvCache keeps(keeping(config));
              copy_sequence(cache, id, keeps);
            }),
            "");
}

TEST_F(ForgottenTest, APlanDoesNotOutliveItsPages) {
  AttendPlan plan;
  const Rows queries = random_rows(1, 2, 1, kDim, 0.0);
  std::vector<float> out(2 * kDim);
  AttendRequest request;
  request.sequence = id;
  request.queries = queries.view();
  request.out = OutputView::contiguous(out.data(), 2, 1, kDim);
  const Tokens more = random_tokens(80, config, 200);
  for (const int layer : {1, 2, 3}) append_layer(cache, id, layer, more, {0, 200}, threads);
  plan.make(cache, 1, {&request, 1}, {});
  plan.run();
  append_layer(cache, id, 0, more, {0, 200}, threads);  // the last of all: pages go back
  EXPECT_NE(error_of([&] { plan.run(); }).find("has changed in layer 1"), std::string::npos);
}

}  // namespace
}  // namespace qjl::test
