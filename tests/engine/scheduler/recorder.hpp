// A tiny model for the scheduler's tests, and a listener that writes everything down.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "batch.hpp"
#include "model_file.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {

constexpr std::int64_t kVocab = 96;
using Tokens = std::vector<Token>;

inline Tokens random_tokens(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Tokens out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>(random() % kVocab));
  return out;
}

inline Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// An output matrix of its own and much attention, or answers run in circles; whole numbers, so that fast arithmetic is meant.
inline std::vector<std::byte> talkative_model() {
  TinyModel tiny;
  tiny.keys["llama.context_length"] = 8192u;
  tiny.matrix("output.weight", kVocab, 128, 3.0);
  for (const std::string layer : {"blk.0.", "blk.1."}) tiny.matrix(layer + "attn_output.weight", 128, 128, 4.0);
  return tiny.bytes(TinyModel::Matrices::q8_0);
}

inline TokenizerData numbered_tokens(Tokens ends = {}) {
  TokenizerData data;
  data.pre = "gpt-2";
  for (int i = 0; i < kVocab; ++i) data.tokens.push_back(std::to_string(i) + ",");
  data.types.assign(kVocab, TokenizerData::Type::normal);
  data.end_of_generation = std::move(ends);
  return data;
}

struct Recorder : Listener {
  std::vector<std::vector<ScoredToken>> made = std::vector<std::vector<ScoredToken>>(kMostChoices);
  std::vector<ChoiceFinish> finishes;
  std::vector<ScoredToken> prompt;
  std::vector<std::int64_t> stretches;  // where each of them began
  std::vector<End> ends;
  int starts = 0;
  std::int64_t stop_after = -1;  // tokens of a choice
  bool throws = false;

  void on_start(const Usage&) override { ++starts; }
  void on_prompt_scores(std::int64_t first, std::span<const ScoredToken> scores) override {
    stretches.push_back(first);
    prompt.insert(prompt.end(), scores.begin(), scores.end());
  }
  bool on_token(int choice, const ScoredToken& token, bool) override {
    if (throws) throw std::runtime_error("the listener broke");
    std::vector<ScoredToken>& list = made[static_cast<std::size_t>(choice)];
    list.push_back(token);
    return stop_after < 0 || std::ssize(list) < stop_after;
  }
  void on_choice_end(int, ChoiceFinish finish) override { finishes.push_back(finish); }
  void on_end(const End& end) override { ends.push_back(end); }

  Tokens tokens(int choice = 0) const {
    Tokens out;
    for (const ScoredToken& each : made[static_cast<std::size_t>(choice)]) out.push_back(each.token);
    return out;
  }
  std::vector<float> logprobs(int choice = 0) const {
    std::vector<float> out;
    for (const ScoredToken& each : made[static_cast<std::size_t>(choice)]) out.push_back(each.logprob);
    return out;
  }
  bool is_done() const { return ends.size() == 1 && ends.front().kind == End::Kind::done; }
};

inline Request request_of(const Tokens& prompt, std::int64_t max_tokens, std::shared_ptr<Recorder> recorder) {
  Request request;
  request.prompt = prompt;
  request.max_tokens = max_tokens;
  request.token_scores = 0;
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 5;
  request.listener = std::move(recorder);
  return request;
}

struct SchedulerFixture : testing::Test {
  explicit SchedulerFixture(std::vector<std::byte> file = talkative_model()) : bytes(std::move(file)) {}

  std::vector<std::byte> bytes;
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  Tokenizer tokenizer{numbered_tokens()};
  ThreadPool threads{2};

  // Room for so many pages of k3v2 beside so many live sequences; open rows of one are as large as six pages here.
  SchedulerConfig config(std::int64_t pages, std::int64_t live, bool is_reproducible = true) const {
    SchedulerConfig out;
    out.cache_types = {{"k3v2", codec_config("k3v2")}};
    const TypedCache size(model, out.cache_types.front(), 0, std::int64_t{64} << 20);
    const MemoryReport empty = size.cache().memory_report();
    const std::int64_t records = empty.codec_tables + empty.page_tables + (std::int64_t{8} << 10);
    out.cache_bytes = (pages * size.page_bytes() + live * size.open_row_bytes() + records) * 64 / 63;
    out.context = 4096;
    out.parallel = 32;
    out.chunk = 128;
    out.is_reproducible = is_reproducible;
    return out;
  }
};

// A batch without a thread.
struct Driver {
  explicit Driver(SchedulerFixture& fixture, SchedulerConfig wanted)
      : config(std::move(wanted)), batch(fixture.model, fixture.tokenizer, fixture.threads, config) {}

  std::shared_ptr<TicketState> submit(Request request) {
    auto job = std::make_unique<Job>();
    job->id = ++last_id;
    job->request = std::move(request);
    job->ticket = std::make_shared<TicketState>();
    job->ticket->bell = std::make_shared<Bell>();
    job->arrival = Clock::now();
    auto ticket = job->ticket;
    batch.submit(std::move(job));
    return ticket;
  }
  std::shared_ptr<Recorder> ask(const Tokens& prompt, std::int64_t max_tokens, std::uint64_t seed = 5) {
    auto recorder = std::make_shared<Recorder>();
    Request request = request_of(prompt, max_tokens, recorder);
    request.sampling.seed = seed;
    submit(std::move(request));
    return recorder;
  }
  void run() {
    int steps = 0;
    while (batch.step()) ASSERT_LT(++steps, 100'000) << "it never ends";
  }

  const SchedulerConfig config;
  Batch batch;
  std::int64_t last_id = 0;
};

// One request by itself in a cache with room.
inline std::shared_ptr<Recorder> alone(SchedulerFixture& fixture, const Tokens& prompt, std::int64_t max_tokens,
                                       std::uint64_t seed = 5) {
  Driver driver(fixture, fixture.config(100, 10));
  auto recorder = driver.ask(prompt, max_tokens, seed);
  driver.run();
  EXPECT_TRUE(recorder->is_done());
  return recorder;
}

inline void expect_same(const Recorder& found, const Recorder& wanted, const std::string& what) {
  EXPECT_EQ(found.tokens(), wanted.tokens()) << what;
  EXPECT_EQ(found.logprobs(), wanted.logprobs()) << what;
  EXPECT_EQ(found.ends.size(), 1u) << what;
}

}  // namespace qjl::engine::test
