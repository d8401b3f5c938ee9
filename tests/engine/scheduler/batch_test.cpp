// Steps of many requests on a tiny model, without a thread. What an answer is does not depend on who else is there: tokens and
// log-probabilities have the same bits alone, in company, warm, parked and forked (families_batch_test.cpp has what holds for models
// with a state, too).
#include "batch.hpp"

#include <cmath>

#include "recorder.hpp"

namespace qjl::engine::test {
namespace {

using BatchTest = SchedulerFixture;

TEST_F(BatchTest, ColdIsWarm) {
  const Tokens prompt = random_tokens(500, 3);
  for (const bool is_reproducible : {true, false}) {
    Driver driver(*this, config(100, 10, is_reproducible));
    const auto cold = driver.ask(prompt, 40);
    driver.run();
    const auto warm = driver.ask(prompt, 40);
    driver.run();
    EXPECT_EQ(cold->ends[0].usage.cached_tokens, 0);
    EXPECT_EQ(warm->ends[0].usage.cached_tokens, 384);
    EXPECT_EQ(warm->ends[0].usage.prompt_tokens, 500);
    EXPECT_EQ(warm->ends[0].usage.shared_bytes, 3 * driver.batch.cache(0).page_bytes());
    expect_same(*warm, *cold, is_reproducible ? "reproducible" : "not");  // a chunk is a page here: the grids agree
    const auto salted = std::make_shared<Recorder>();
    Request other = request_of(prompt, 1, salted);
    other.salt = "another tenant";
    driver.submit(std::move(other));
    const auto uncached = std::make_shared<Recorder>();
    Request fresh = request_of(prompt, 1, uncached);
    fresh.reads_prefixes = false;
    driver.submit(std::move(fresh));
    driver.run();
    EXPECT_EQ(salted->ends[0].usage.cached_tokens, 0);
    EXPECT_EQ(uncached->ends[0].usage.cached_tokens, 0);
  }
}

TEST_F(BatchTest, TheNextTurnOfAChatFindsItsAnswer) {
  const Tokens prompt = random_tokens(200, 4);
  Driver driver(*this, config(100, 10, false));
  const auto first = driver.ask(prompt, 150);
  driver.run();
  const auto second = driver.ask(joined(joined(prompt, first->tokens()), random_tokens(20, 5)), 1);
  driver.run();
  EXPECT_EQ(second->ends[0].usage.cached_tokens, 256);  // of 349 tokens that were held
}

TEST_F(BatchTest, EqualBeginningsThatComeTogetherAreComputedOnce) {
  const Tokens common = random_tokens(1024, 6);
  Driver driver(*this, config(100, 10));
  std::vector<std::shared_ptr<Recorder>> all;
  for (std::uint64_t i = 0; i < 6; ++i) all.push_back(driver.ask(joined(common, random_tokens(10, 50 + i)), 1));
  driver.run();
  EXPECT_EQ(driver.batch.accounts().computed_tokens, 1024 + 6 * 10);
  std::int64_t cached = 0;
  for (const auto& each : all) cached += each->ends[0].usage.cached_tokens;
  EXPECT_EQ(cached, 5 * 1024);
  for (std::uint64_t i = 0; i < 6; ++i)
    expect_same(*all[i], *alone(*this, joined(common, random_tokens(10, 50 + i)), 1), "one of six");
}

TEST_F(BatchTest, WhoLeavesGivesPagesBackWithinAStep) {
  SchedulerConfig three = config(40, 10);
  three.parallel = 3;
  Driver driver(*this, three);
  const auto stays = driver.ask(random_tokens(200, 8), 200);
  auto leaves = std::make_shared<Recorder>(), reads = std::make_shared<Recorder>(), waits = std::make_shared<Recorder>();
  Request many = request_of(random_tokens(300, 9), 200, leaves);
  many.choices = 3;
  const auto ticket = driver.submit(std::move(many));
  const auto reading = driver.submit(request_of(random_tokens(2000, 10), 5, reads));
  for (int i = 0; i < 12; ++i) driver.batch.step();
  const auto waiting = driver.submit(request_of(random_tokens(4000, 11), 5, waits));
  driver.batch.step();
  EXPECT_EQ(driver.batch.num_waiting(), 1u);
  for (const auto& each : {ticket, reading, waiting}) each->is_cancelled = true;
  driver.batch.step();
  for (const auto& each : {leaves, reads, waits}) {
    ASSERT_EQ(each->ends.size(), 1u);
    EXPECT_EQ(each->ends[0].kind, End::Kind::cancelled);
  }
  const Accounts accounts = driver.batch.accounts();
  EXPECT_EQ(accounts.sequences.size(), 1u);
  EXPECT_EQ(accounts.caches[0].pages_used, 1);  // 200 tokens of who stays
  driver.run();
  EXPECT_TRUE(stays->is_done());
}

TEST_F(BatchTest, PromptsTakeTurnsAndAnswersGoOn) {
  Driver driver(*this, config(100, 10));
  const auto running = driver.ask(random_tokens(10, 12), 100);
  driver.batch.step();
  const auto longer = driver.ask(random_tokens(1280, 13), 1), shorter = driver.ask(random_tokens(20, 14), 1);
  driver.batch.step();
  driver.batch.step();
  EXPECT_EQ(shorter->tokens().size(), 1u) << "the short prompt has its turn after one chunk of the long one";
  EXPECT_EQ(longer->tokens().size(), 0u);
  EXPECT_EQ(running->tokens().size(), 3u) << "a token in every step";
  driver.run();
  EXPECT_TRUE(longer->is_done() && running->is_done());
}

TEST_F(BatchTest, FirstComeFirstServed) {
  Driver driver(*this, config(5, 2));
  const auto first = driver.ask(random_tokens(700, 15), 20), big = driver.ask(random_tokens(900, 16), 20),
             small = driver.ask(random_tokens(5, 17), 5);
  driver.batch.step();
  EXPECT_EQ(driver.batch.num_waiting(), 2u) << "the small one does not overtake";
  driver.run();
  EXPECT_TRUE(first->is_done() && big->is_done() && small->is_done());
  EXPECT_GT(driver.batch.accounts().caches[0].evicted_pages, 0);
}

// Rows of logits are longer than the tokenizer's list: what lies beyond is no token, likely as it may be.
TEST_F(BatchTest, PaddedRowsGiveTokensAlone) {
  TokenizerData few = numbered_tokens();
  few.tokens.resize(20);
  few.types.resize(20);
  tokenizer = Tokenizer(std::move(few));
  Driver driver(*this, config(100, 10));
  auto recorder = std::make_shared<Recorder>();
  Tokens prompt = random_tokens(200, 19);
  for (Token& token : prompt) token %= 20;
  Request request = request_of(prompt, 60, recorder);
  request.token_scores = 20;
  request.prompt_scores = 20;
  driver.submit(std::move(request));
  driver.run();
  ASSERT_TRUE(recorder->is_done());
  for (const auto& list : {recorder->made[0], recorder->prompt}) {
    ASSERT_GE(list.size(), 60u);
    for (const ScoredToken& each : list) {
      EXPECT_LT(each.token, 20);
      double sum = 0;
      for (const TokenScore& other : each.top) {
        EXPECT_LT(other.token, 20);
        sum += std::exp(other.logprob);
      }
      EXPECT_NEAR(sum, 1, 1e-5);  // twenty numbers of 24 bits
    }
  }
}

TEST_F(BatchTest, AParkedAnswerThatReadsNoPrefixTakesNone) {
  const Tokens prompt = random_tokens(260, 20);
  Driver driver(*this, config(7, 3));
  auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  first->stop_after = second->stop_after = 900;
  for (const auto& each : {first, second}) {
    Request request = request_of(prompt, -1, each);
    request.reads_prefixes = false;
    driver.submit(std::move(request));
  }
  driver.run();
  EXPECT_GT(driver.batch.accounts().parkings, 0);
  for (const auto& each : {first, second}) {
    ASSERT_TRUE(each->is_done());
    EXPECT_EQ(each->ends[0].usage.shared_bytes, 0);
  }
}

TEST_F(BatchTest, TwoTypesSideBySide) {
  SchedulerConfig both = config(200, 20);
  both.cache_types.push_back({"f16", codec_config("f16")});
  both.cache_bytes *= 12;
  Driver driver(*this, both);
  const Tokens prompt = random_tokens(600, 18);
  auto exact = std::make_shared<Recorder>();
  Request request = request_of(prompt, 30, exact);
  request.cache_type = 1;
  driver.submit(std::move(request));
  const auto packed = driver.ask(prompt, 30);
  driver.run();
  EXPECT_EQ(exact->ends[0].usage.cache_type, "f16");
  EXPECT_EQ(packed->ends[0].usage.cache_type, "k3v2");
  EXPECT_LT(packed->ends[0].usage.bits, exact->ends[0].usage.bits);
  EXPECT_NE(packed->logprobs(), exact->logprobs());
  expect_same(*packed, *alone(*this, prompt, 30), "beside f16");
}

}  // namespace
}  // namespace qjl::engine::test
