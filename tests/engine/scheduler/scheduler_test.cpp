// The scheduler with its thread: many callers at once, the door's refusals, draining, saved prefixes and what damage is.
#include "scheduler.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <mutex>
#include <thread>

#include "qjl/error.hpp"
#include "recorder.hpp"

namespace qjl::engine::test {
namespace {

namespace fs = std::filesystem;

// Waits for the end.
struct Awaited : Recorder {
  void on_end(const End& end) override {
    const std::lock_guard lock(mutex);
    Recorder::on_end(end);
    ended.notify_all();
  }
  const End& wait() {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(ended.wait_for(lock, std::chrono::seconds(120), [this] { return !ends.empty(); })) << "no end in two minutes";
    return ends.front();
  }
  std::mutex mutex;
  std::condition_variable ended;
};

struct SchedulerTest : SchedulerFixture {
  static Ticket ticket_of(std::variant<Ticket, Refusal> answer) {
    EXPECT_TRUE(std::holds_alternative<Ticket>(answer)) << std::get<Refusal>(answer).message;
    return std::get<Ticket>(answer);
  }
  static Refusal refusal_of(std::variant<Ticket, Refusal> answer) {
    EXPECT_TRUE(std::holds_alternative<Refusal>(answer));
    return std::get<Refusal>(std::move(answer));
  }
  std::shared_ptr<Awaited> ask(Scheduler& scheduler, const Tokens& prompt, std::int64_t max_tokens, std::uint64_t seed = 5) {
    auto awaited = std::make_shared<Awaited>();
    Request request = request_of(prompt, max_tokens, awaited);
    request.sampling.seed = seed;
    ticket_of(scheduler.submit(std::move(request)));
    return awaited;
  }
};

TEST_F(SchedulerTest, ManyCallersSomeOfWhomLeave) {
  SchedulerConfig wanted = config(30, 10);
  wanted.max_queue = 200;
  Scheduler scheduler(model, tokenizer, threads, wanted);
  std::vector<std::thread> callers;
  std::atomic<int> done = 0, cancelled = 0;
  for (std::uint64_t caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      for (std::uint64_t i = 0; i < 8; ++i) {
        auto awaited = std::make_shared<Awaited>();
        const Ticket ticket =
            ticket_of(scheduler.submit(request_of(random_tokens(20 + 60 * static_cast<std::int64_t>(i), i), 30, awaited)));
        if ((caller + i) % 3 == 0) ticket.cancel();
        scheduler.accounts();
        const End& end = awaited->wait();
        ++(end.kind == End::Kind::done ? done : cancelled);
        ticket.cancel();  // after the end: nothing
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(done + cancelled, 48);
  EXPECT_GE(done, 32);
  EXPECT_TRUE(scheduler.drain(60));
  const Accounts accounts = scheduler.accounts();
  EXPECT_EQ(accounts.done, done);
  EXPECT_EQ(accounts.cancelled, cancelled);
  EXPECT_EQ(accounts.caches[0].pages_used, 0);
  EXPECT_TRUE(accounts.sequences.empty());
}

TEST_F(SchedulerTest, Refusals) {
  SchedulerConfig wanted = config(10, 4);
  wanted.max_queue = 2;
  wanted.parallel = 1;
  Scheduler scheduler(model, tokenizer, threads, wanted);
  const std::int64_t capacity = scheduler.capacity_tokens(0);
  const auto long_one = refusal_of(scheduler.submit(request_of(random_tokens(capacity - 9, 1), 10, nullptr)));
  EXPECT_EQ(long_one.kind, Refusal::Kind::too_long);
  EXPECT_EQ(long_one.found, capacity + 1);
  EXPECT_EQ(long_one.wanted, capacity);
  EXPECT_NE(long_one.message.find(std::to_string(capacity)), std::string::npos);
  const auto huge = refusal_of(scheduler.submit(request_of({1}, std::numeric_limits<std::int64_t>::max(), nullptr)));
  EXPECT_EQ(huge.kind, Refusal::Kind::too_long);
  EXPECT_EQ(huge.field, "max_tokens");
  const auto field = [&](auto change) {
    Request request = request_of({1, 2}, 1, nullptr);
    change(request);
    const Refusal refusal = refusal_of(scheduler.submit(std::move(request)));
    EXPECT_EQ(refusal.kind, Refusal::Kind::invalid);
    return refusal.field;
  };
  EXPECT_EQ(field([](Request& r) { r.prompt.clear(); }), "prompt");
  EXPECT_EQ(field([](Request& r) { r.prompt = {96}; }), "prompt");
  EXPECT_EQ(field([](Request& r) { r.max_tokens = -2; }), "max_tokens");
  EXPECT_EQ(field([](Request& r) { r.choices = kMostChoices + 1; }), "choices");
  EXPECT_EQ(field([](Request& r) { r.token_scores = 21; }), "token_scores");
  EXPECT_EQ(field([](Request& r) { r.cache_type = 1; }), "cache_type");
  EXPECT_EQ(field([](Request& r) { r.chunk = 100; }), "chunk");
  EXPECT_EQ(field([](Request& r) { r.sampling.top_p = 2; }), "sampling");

  std::vector<std::shared_ptr<Awaited>> taken;
  std::optional<Refusal> full;
  for (int i = 0; i < 20 && !full; ++i) {
    auto awaited = std::make_shared<Awaited>();
    auto answer = scheduler.submit(request_of(random_tokens(100, 2), 400, awaited));
    if (std::holds_alternative<Refusal>(answer))
      full = std::get<Refusal>(answer);
    else
      taken.push_back(awaited);
  }
  ASSERT_TRUE(full) << "twenty answers of 400 tokens were done sooner than asked for";
  EXPECT_EQ(full->kind, Refusal::Kind::queue_full);
  EXPECT_GE(full->retry_seconds, 1);
  EXPECT_EQ(full->wanted, 2);
  for (const auto& each : taken) EXPECT_EQ(each->wait().kind, End::Kind::done);
  EXPECT_TRUE(scheduler.drain(60));
  EXPECT_EQ(refusal_of(scheduler.submit(request_of({1}, 1, nullptr))).kind, Refusal::Kind::draining);
}

TEST_F(SchedulerTest, DrainingEndsWhatIsLate) {
  std::shared_ptr<Awaited> late;
  {
    Scheduler scheduler(model, tokenizer, threads, config(40, 10));
    late = ask(scheduler, random_tokens(10, 1), 4000);
    EXPECT_FALSE(scheduler.drain(0.05));
    EXPECT_TRUE(scheduler.is_draining());
  }
  EXPECT_EQ(late->wait().kind, End::Kind::drained);
}

struct SavedPrefixes : SchedulerTest {
  fs::path folder = fs::path(testing::TempDir()) / ("prefixes-" + std::to_string(::getpid()));
  SavedPrefixes() { fs::create_directories(folder); }
  ~SavedPrefixes() override { fs::remove_all(folder); }

  SchedulerConfig with_folder(std::int64_t most_bytes = 0) const {
    SchedulerConfig out = config(100, 10);
    out.prefix_dir = folder.string();
    out.prefix_dir_bytes = most_bytes;
    return out;
  }
};

TEST_F(SavedPrefixes, AreFoundAfterARestartAndGiveTheSame) {
  const Tokens prefix = random_tokens(700, 1), prompt = joined(prefix, random_tokens(40, 2));
  std::shared_ptr<Awaited> cold, warm;
  {
    Scheduler scheduler(model, tokenizer, threads, with_folder());
    cold = ask(scheduler, prompt, 30);
    cold->wait();
    std::promise<PrefixInfo> promise;
    ticket_of(scheduler.save_prefix("book", prefix, 0, [&](const PrefixInfo& info) { promise.set_value(info); }));
    const PrefixInfo info = promise.get_future().get();
    EXPECT_EQ(info.fault, "");
    EXPECT_EQ(info.tokens, 640);
    EXPECT_GT(info.bytes, 5 * 2 * 48 * 128);  // five pages, two layers of one head of 64: over three bits a number
  }
  std::ofstream(folder / "broken.qjlkv.safetensors") << "no cache file";
  std::ofstream(folder / "book.qjlkv.safetensors.part1073741824-0") << "what a killed writer left";
  Scheduler scheduler(model, tokenizer, threads, with_folder());
  EXPECT_FALSE(fs::exists(folder / "book.qjlkv.safetensors.part1073741824-0"));
  const std::vector<PrefixInfo> list = scheduler.prefixes();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "book");
  EXPECT_EQ(list[0].fault, "");
  EXPECT_TRUE(list[0].is_named);
  EXPECT_NE(list[1].fault, "");
  warm = ask(scheduler, prompt, 30);
  EXPECT_EQ(warm->wait().usage.cached_tokens, 640);
  EXPECT_EQ(warm->tokens(), cold->tokens());
  EXPECT_EQ(warm->logprobs(), cold->logprobs());
  EXPECT_TRUE(scheduler.remove_prefix("book"));
  EXPECT_FALSE(scheduler.remove_prefix("book"));
  EXPECT_FALSE(fs::exists(folder / "book.qjlkv.safetensors"));
  for (const char* name : {"", ".", "../x", "a/b", ".auto-1"}) {
    EXPECT_THROW(scheduler.remove_prefix(name), Error) << name;
    EXPECT_THROW(scheduler.save_prefix(name, prefix, 0, {}), Error) << name;
  }
}

TEST_F(SavedPrefixes, OfAnotherChunkOrTypeAreListedWithTheirReason) {
  {
    Scheduler scheduler(model, tokenizer, threads, with_folder());
    std::promise<void> done;
    ticket_of(scheduler.save_prefix("book", random_tokens(600, 1), 0, [&](const PrefixInfo&) { done.set_value(); }));
    done.get_future().get();
  }
  SchedulerConfig other = with_folder();
  other.cache_types = {{"k4v4", codec_config("k4v4")}};
  Scheduler scheduler(model, tokenizer, threads, other);
  ASSERT_EQ(scheduler.prefixes().size(), 1u);
  EXPECT_NE(scheduler.prefixes()[0].fault.find("not served"), std::string::npos) << scheduler.prefixes()[0].fault;
}

TEST_F(SavedPrefixes, IdleConversationsAreWrittenByThemselves) {
  const auto bytes_of = [](const Scheduler& scheduler) {
    std::int64_t sum = 0;
    for (const PrefixInfo& each : scheduler.prefixes()) {
      EXPECT_FALSE(each.is_named);
      EXPECT_EQ(each.fault, "");
      sum += each.bytes;
    }
    return sum;
  };
  const auto wait_until = [](const auto& holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!holds() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return holds();
  };
  {
    Scheduler scheduler(model, tokenizer, threads, with_folder(std::int64_t{8} << 20));
    for (std::uint64_t i = 0; i < 11; ++i) ask(scheduler, random_tokens(520, i), 3)->wait();
    EXPECT_TRUE(wait_until([&] { return scheduler.prefixes().size() == 11; })) << scheduler.prefixes().size();
  }
  std::int64_t one = 0;
  {
    Scheduler scheduler(model, tokenizer, threads, with_folder(std::int64_t{8} << 20));
    EXPECT_EQ(ask(scheduler, random_tokens(520, 10), 1)->wait().usage.cached_tokens, 512);
    one = bytes_of(scheduler) / 11;
  }
  Scheduler scheduler(model, tokenizer, threads, with_folder(3 * one));
  ask(scheduler, random_tokens(520, 99), 1)->wait();
  EXPECT_TRUE(wait_until([&] { return bytes_of(scheduler) <= 3 * one; })) << bytes_of(scheduler);
  EXPECT_GT(bytes_of(scheduler), 0);
}

TEST_F(SavedPrefixes, WhatHasNoRoomIsLetBe) {
  const auto names = [](const Scheduler& scheduler) {
    std::vector<std::string> out;
    for (const PrefixInfo& each : scheduler.prefixes()) out.push_back(each.name);
    return out;
  };
  const auto wait_for_one = [&](const Scheduler& scheduler) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (names(scheduler).empty() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return !names(scheduler).empty();
  };
  std::int64_t one = 0;
  {
    Scheduler scheduler(model, tokenizer, threads, with_folder(std::int64_t{8} << 20));
    ask(scheduler, random_tokens(520, 1), 1)->wait();
    ASSERT_TRUE(wait_for_one(scheduler));
    one = scheduler.prefixes()[0].bytes;
  }
  fs::remove_all(folder);
  fs::create_directories(folder);
  Scheduler scheduler(model, tokenizer, threads, with_folder(one * 3 / 2));
  const auto older = ask(scheduler, random_tokens(520, 1), 1), newer = ask(scheduler, random_tokens(520, 2), 1);
  older->wait();
  newer->wait();
  ASSERT_TRUE(wait_for_one(scheduler));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const std::vector<std::string> found = names(scheduler);
  ASSERT_EQ(found.size(), 1u);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(names(scheduler), found) << "it was written again";
}

TEST_F(SchedulerTest, DamageOfExactIsNone) {
  SchedulerConfig both = config(100, 10);
  both.cache_types.push_back({"f16", codec_config("f16")});
  both.cache_bytes *= 12;
  Scheduler scheduler(model, tokenizer, threads, both);
  const auto measure = [&](int type) {
    std::promise<Damage> promise;
    ticket_of(scheduler.measure_damage(random_tokens(500, 1), type, 128, [&](const Damage& damage, const std::string& error) {
      EXPECT_EQ(error, "");
      promise.set_value(damage);
    }));
    return promise.get_future().get();
  };
  const Damage packed = measure(0), exact = measure(1);
  EXPECT_EQ(packed.kl.size(), 500u);
  EXPECT_EQ(exact.mean_kl, 0);
  EXPECT_EQ(exact.same_top, 1);
  EXPECT_GT(packed.mean_kl, 0);
  for (std::size_t i = 0; i < 128; ++i) EXPECT_EQ(packed.kl[i], 0) << "the first chunk is exact, token " << i;
}

}  // namespace
}  // namespace qjl::engine::test
