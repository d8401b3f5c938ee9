// Requests to a model whose layers keep a state: parked, forked and in company they are what each is alone; no prefix is shared.
#include <gtest/gtest.h>

#include "qjl/error.hpp"
#include "recorder.hpp"
#include "scheduler.hpp"

namespace qjl::engine::test {
namespace {

struct StateLayersBatch : SchedulerFixture {
  StateLayersBatch() {
    TinyModel tiny = TinyModel::qwen35();
    tiny.keys["qwen35.context_length"] = 8192u;
    tiny.matrix("output.weight", kVocab, 128, 3.0);
    bytes = tiny.bytes(TinyModel::Matrices::q8_0);
    model = Model::load(parse_model_file(bytes, "tiny"));
  }
};

TEST_F(StateLayersBatch, MixedRequestsGiveWhatEachGivesAlone) {
  const Tokens common = random_tokens(256, 1);
  Driver driver(*this, config(12, 6));
  std::vector<Tokens> prompts;
  std::vector<std::shared_ptr<Recorder>> found;
  for (std::uint64_t i = 0; i < 9; ++i) {
    prompts.push_back(joined(i % 2 == 0 ? common : Tokens{}, random_tokens(static_cast<std::int64_t>(5 + 37 * i), 100 + i)));
    found.push_back(driver.ask(prompts.back(), static_cast<std::int64_t>(3 + 30 * i), i));
  }
  driver.run();
  const Accounts accounts = driver.batch.accounts();
  EXPECT_EQ(accounts.cached_tokens, 0) << "pages of a prefix without its state";
  EXPECT_EQ(accounts.caches[0].pages_idle, 0);
  EXPECT_EQ(accounts.caches[0].memory.recurrent, 0) << "all have gone";
  for (std::uint64_t i = 0; i < 9; ++i) {
    ASSERT_TRUE(found[i]->is_done()) << i;
    const auto wanted = alone(*this, prompts[i], static_cast<std::int64_t>(3 + 30 * i), i);
    expect_same(*found[i], *wanted, "request " + std::to_string(i));
  }
}

TEST_F(StateLayersBatch, AParkedAnswerIsTheSame) {
  const Tokens a = random_tokens(100, 1), b = random_tokens(140, 2);
  Driver driver(*this, config(6, 3));
  auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  first->stop_after = second->stop_after = 900;
  driver.submit(request_of(a, -1, first));
  driver.submit(request_of(b, -1, second));
  driver.run();
  EXPECT_GT(driver.batch.accounts().parkings, 0);
  EXPECT_EQ(driver.batch.accounts().computed_tokens, 100 + 140 + 2 * 899) << "nothing is computed twice";
  for (const auto& [found, prompt] : {std::pair{first, a}, {second, b}}) {
    Driver roomy(*this, config(100, 10));
    auto wanted = std::make_shared<Recorder>();
    wanted->stop_after = 900;
    roomy.submit(request_of(prompt, -1, wanted));
    roomy.run();
    expect_same(*found, *wanted, "parked");
  }
}

TEST_F(StateLayersBatch, ChoicesAreForks) {
  const Tokens prompt = random_tokens(200, 7);
  Driver driver(*this, config(40, 10));
  auto recorder = std::make_shared<Recorder>();
  Request request = request_of(prompt, 40, recorder);
  request.choices = 3;
  driver.submit(std::move(request));
  driver.run();
  ASSERT_TRUE(recorder->is_done());
  EXPECT_EQ(driver.batch.accounts().computed_tokens, 200 + 3 * 39);
  for (int i = 0; i < 3; ++i) {
    const auto wanted = alone(*this, prompt, 40, 5 + static_cast<std::uint64_t>(i));
    EXPECT_EQ(recorder->tokens(i), wanted->tokens()) << i;
    EXPECT_EQ(recorder->logprobs(i), wanted->logprobs()) << i;
  }
}

TEST_F(StateLayersBatch, SavedPrefixesAreRefused) {
  SchedulerConfig wanted = config(10, 2);
  wanted.prefix_dir = testing::TempDir();
  try {
    const Scheduler scheduler(model, tokenizer, threads, wanted);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("found prefix_dir for a model whose layers keep a recurrent state"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace qjl::engine::test
