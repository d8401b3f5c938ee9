// What holds for models whose layers all attend and for those of which some keep a state: mixed, parked and forked requests are what
// each is alone. A state belongs to one sequence: prefixes are shared without one only.
#include "qjl/error.hpp"
#include "recorder.hpp"
#include "scheduler.hpp"

namespace qjl::engine::test {
namespace {

std::vector<std::byte> model_with_state() {
  TinyModel tiny = TinyModel::qwen35();
  tiny.keys["qwen35.context_length"] = 8192u;
  tiny.matrix("output.weight", kVocab, 128, 3.0);
  return tiny.bytes(TinyModel::Matrices::q8_0);
}

struct FamiliesBatch : SchedulerFixture, testing::WithParamInterface<const char*> {
  const bool has_state = GetParam() == std::string_view("state");
  FamiliesBatch() : SchedulerFixture(GetParam() == std::string_view("state") ? model_with_state() : talkative_model()) {}
};
INSTANTIATE_TEST_SUITE_P(Models, FamiliesBatch, testing::Values("attention", "state"), [](const auto& one) { return one.param; });

TEST_P(FamiliesBatch, MixedRequestsInASmallCacheGiveWhatEachGivesAlone) {
  const Tokens common = random_tokens(384, 1);
  std::vector<Tokens> prompts;
  std::vector<std::int64_t> lengths;
  for (int i = 0; i < 16; ++i) {
    const Tokens own = random_tokens(5 + 37 * i, 100 + static_cast<std::uint64_t>(i));
    prompts.push_back(i % 3 == 0 ? joined(common, own) : own);
    lengths.push_back(i % 4 == 0 ? 300 : 3 + 9 * i);
  }
  Driver driver(*this, config(16, 9));
  std::vector<std::shared_ptr<Recorder>> found;
  for (std::size_t i = 0; i < prompts.size(); ++i) found.push_back(driver.ask(prompts[i], lengths[i], i));
  driver.run();
  const Accounts accounts = driver.batch.accounts();
  EXPECT_EQ(accounts.cached_tokens > 0, !has_state);
  EXPECT_EQ(accounts.caches[0].pages_idle > 0, !has_state);
  EXPECT_EQ(accounts.caches[0].memory.recurrent, 0) << "all have gone";
  EXPECT_EQ(accounts.done, 16);
  EXPECT_EQ(accounts.running + accounts.reading + accounts.waiting + accounts.parked, 0);
  EXPECT_EQ(accounts.caches[0].pages_used, 0);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_TRUE(found[i]->is_done()) << i << ": " << (found[i]->ends.empty() ? "no end" : found[i]->ends[0].message);
    EXPECT_EQ(std::ssize(found[i]->tokens()), lengths[i]);
    expect_same(*found[i], *alone(*this, prompts[i], lengths[i], i), "request " + std::to_string(i));
  }
}

// Answers of unknown length outgrow their promise of 512 tokens: the younger leaves the pool, and comes back as it was.
TEST_P(FamiliesBatch, AParkedAnswerIsTheSame) {
  const Tokens a = random_tokens(100, 1), b = random_tokens(140, 2);
  const auto submit = [](Driver& driver, const Tokens& prompt) {
    auto recorder = std::make_shared<Recorder>();
    recorder->stop_after = 900;
    driver.submit(request_of(prompt, -1, recorder));
    return recorder;
  };
  Driver driver(*this, config(6, 3));
  const auto older = submit(driver, a), younger = submit(driver, b);
  bool was_parked = false;
  while (driver.batch.step()) was_parked |= driver.batch.accounts().parked > 0;
  EXPECT_TRUE(was_parked);
  EXPECT_GT(driver.batch.accounts().parkings, 0);
  EXPECT_EQ(older->finishes, std::vector{ChoiceFinish::stop});
  EXPECT_EQ(driver.batch.accounts().computed_tokens, 100 + 140 + 2 * 899) << "nothing is computed twice";
  for (const auto& [found, prompt] : {std::pair{older, a}, {younger, b}}) {
    Driver roomy(*this, config(100, 10));
    const auto wanted = submit(roomy, prompt);
    roomy.run();
    expect_same(*found, *wanted, found == older ? "the older" : "the younger");
  }
}

TEST_P(FamiliesBatch, ChoicesAreForks) {
  const Tokens prompt = random_tokens(300, 7);
  Driver driver(*this, config(2, 3));  // five choices do not run at once
  auto recorder = std::make_shared<Recorder>();
  Request request = request_of(prompt, 60, recorder);
  request.choices = 5;
  driver.submit(std::move(request));
  driver.run();
  ASSERT_TRUE(recorder->is_done());
  EXPECT_EQ(recorder->finishes, std::vector<ChoiceFinish>(5, ChoiceFinish::length));
  EXPECT_EQ(recorder->ends[0].usage.generated_tokens, 300);
  EXPECT_EQ(driver.batch.accounts().computed_tokens, 300 + 5 * 59);
  for (int i = 0; i < 5; ++i) {
    const auto one = alone(*this, prompt, 60, 5 + static_cast<std::uint64_t>(i));
    EXPECT_EQ(recorder->tokens(i), one->tokens()) << i;
    EXPECT_EQ(recorder->logprobs(i), one->logprobs()) << i;
  }
}

TEST_P(FamiliesBatch, PrefixesAreSavedWithoutAStateOnly) {
  SchedulerConfig wanted = config(10, 2);
  wanted.prefix_dir = testing::TempDir();
  std::string refusal;
  try {
    const Scheduler scheduler(model, tokenizer, threads, wanted);
  } catch (const Error& error) {
    refusal = error.what();
  }
  EXPECT_EQ(refusal.find("found prefix_dir for a model whose layers keep a recurrent state") != std::string::npos, has_state)
      << refusal;
}

}  // namespace
}  // namespace qjl::engine::test
