// A plan is made once and run as often as its sequences stand still; what would read rows that are gone is an error.
#include <gtest/gtest.h>

#include "cache_fixtures.hpp"

namespace qjl::test {
namespace {

constexpr int kGroup = 3;

class Plans : public ::testing::Test {
 protected:
  Plans() : config_(cache_config("k3v2")), cache_(config_), sequence_(cache_.create()), tokens_(random_tokens(4, config_, 600)) {
    append(cache_, sequence_, tokens_, {0, 300}, threads_);
    out_.resize(queries_.number.size());
    request_.sequence = sequence_;
    request_.queries = queries_.view();
    request_.out = OutputView::contiguous(out_.data(), queries_.heads, 2, 64);
  }
  std::string error_of_run() {
    return error_of([&] { plan_.run(threads_); });
  }

  CacheConfig config_;
  KvCache cache_;
  ThreadPool threads_{2};
  SequenceId sequence_;
  Tokens tokens_;
  const Rows queries_ = random_rows(9, 2 * kGroup, 2, 64, 0.0);
  std::vector<float> out_;
  AttendRequest request_;
  AttendPlan plan_;
};

TEST_F(Plans, RunAgainAndAgain) {
  const std::vector<float> wanted = attend_one(cache_, 0, sequence_, queries_, threads_).out;
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  for (int run = 0; run < 3; ++run) {
    std::ranges::fill(out_, NAN);
    plan_.run(threads_);
    EXPECT_EQ(out_, wanted) << run;
    // The page table moves as another layer grows; this layer stands still.
    append_layer(cache_, sequence_, 1, tokens_, {300, 128}, threads_);
  }
}

// Long sequences and many threads: blocks are cut, and who ends the last piece of one merges it, each time anew.
TEST_F(Plans, MergeTheirPiecesWithEachRun) {
  ThreadPool many(6);
  KvCache cache(cache_config("k3v2", 64, 24, 1));
  const SequenceId sequence = cache.create();
  append(cache, sequence, random_tokens(5, cache.config(), 2900), {0, 2900}, many);
  const std::vector<float> wanted = attend_one(cache, 0, sequence, queries_, many).out;
  request_.sequence = sequence;
  plan_.make(cache, 0, {&request_, 1}, {}, many);
  for (int run = 0; run < 3; ++run) {
    std::ranges::fill(out_, NAN);
    plan_.run(many);
    EXPECT_EQ(out_, wanted) << run;
  }
}

TEST_F(Plans, ReadTheirChunkAnewWithEachRun) {
  Rows keys = random_rows(10, 2, 2, 64), values = random_rows(11, 2, 2, 64), other = random_rows(12, 2, 2, 64);
  request_.chunk_keys = keys.view(), request_.chunk_values = values.view();
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  plan_.run(threads_);
  EXPECT_EQ(out_, attend_one(cache_, 0, sequence_, queries_, threads_, {}, &keys, &values).out);
  std::ranges::copy(other.words, keys.words.begin());  // the same memory holds other numbers
  plan_.run(threads_);
  EXPECT_EQ(out_, attend_one(cache_, 0, sequence_, queries_, threads_, {}, &other, &values).out);
}

TEST_F(Plans, EndWithAChangeOfTheirSequence) {
  EXPECT_EQ(error_of_run(), "[attend] found no plan, wanted one made by make()");
  const std::string changed = "[attend] sequence 1 has changed in layer 0 since the plan was made, wanted it made anew";
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  append_layer(cache_, sequence_, 0, tokens_, {300, 1}, threads_);
  EXPECT_EQ(error_of_run(), changed);
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  cache_.truncate(sequence_, 300);
  append_layer(cache_, sequence_, 0, tokens_, {301, 1}, threads_);  // as long as before, and not the same
  EXPECT_EQ(error_of_run(), changed);
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  cache_.drop(sequence_);
  EXPECT_EQ(error_of_run(), "[attend] sequence 1 does not exist, wanted one of the 0 that live");
}

TEST_F(Plans, AreNoneAfterAnError) {
  plan_.make(cache_, 0, {&request_, 1}, {}, threads_);
  EXPECT_EQ(error_of([&] { plan_.make(cache_, 0, {&request_, 1}, {}, CudaStream{}); }),
            "[attend] found a CUDA stream, wanted threads: the cache is one of the host");
  EXPECT_EQ(error_of_run(), "[attend] found no plan, wanted one made by make()");
}

// Without threads of the caller's the calling one works, to the same bits as a pool of one.
TEST_F(Plans, RunOnTheCallingThread) {
  ThreadPool one(1);
  const std::vector<float> wanted = attend_one(cache_, 1, sequence_, queries_, one).out;
  attend(cache_, 1, {&request_, 1}, {}, plan_);
  EXPECT_EQ(out_, wanted);
}

}  // namespace
}  // namespace qjl::test
