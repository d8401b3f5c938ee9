// scheduler_probe MODEL CACHE_MB REPRODUCIBLE(0|1) [THREADS [PARALLEL [CHUNK [PREFIX_DIR]]]]: requests of standard input through a
// scheduler with k3v2, a line of JSON each:
//
//   {"prompt": [ids], "max_tokens": n, "seed": s, "temperature": t, "choices": c, "stop_after": n}    {"wait": true}: for all before
//   -> {"request", "choice", "tokens", "logprobs": [bits of floats], "cached"} for each choice;
//   last {"seconds", "computed", "parkings", "evicted", "memory_bytes", "capacity_tokens"}
#include <bit>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "qjl/codec.hpp"
#include "scheduler.hpp"

namespace {

using namespace qjl;
using namespace qjl::engine;
using Json = nlohmann::json;

struct Answer : Listener {
  std::vector<Json> choices;
  std::int64_t stop_after = -1;
  std::mutex mutex;
  std::condition_variable ended;
  bool has_ended = false;

  bool on_token(int choice, const ScoredToken& token, bool) override {
    Json& line = choices[static_cast<std::size_t>(choice)];
    line["tokens"].push_back(token.token);
    line["logprobs"].push_back(std::bit_cast<std::uint32_t>(token.logprob));
    return stop_after < 0 || std::ssize(line["tokens"]) < stop_after;
  }
  void on_end(const End& end) override {
    const std::lock_guard lock(mutex);
    for (Json& line : choices) {
      line["cached"] = end.usage.cached_tokens;
      if (end.kind != End::Kind::done) line["error"] = end.message;
    }
    has_ended = true;
    ended.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    ended.wait(lock, [this] { return has_ended; });
  }
};

std::shared_ptr<Answer> ask(Scheduler& scheduler, const Json& wanted, std::size_t index) {
  auto answer = std::make_shared<Answer>();
  Request request;
  request.prompt = wanted.at("prompt").get<std::vector<Token>>();
  request.max_tokens = wanted.value("max_tokens", 16);
  request.sampling.seed = wanted.value("seed", 0u);
  request.sampling.temperature = wanted.value("temperature", 0.0f);
  request.choices = wanted.value("choices", 1);
  request.ignores_end = true;
  request.token_scores = 0;
  answer->stop_after = wanted.value("stop_after", -1);
  request.listener = answer;
  for (int i = 0; i < request.choices; ++i)
    answer->choices.push_back({{"request", index}, {"choice", i}, {"tokens", Json::array()}, {"logprobs", Json::array()}});
  auto taken = scheduler.submit(std::move(request));
  if (const auto* refusal = std::get_if<Refusal>(&taken)) throw std::runtime_error(refusal->message);
  return answer;
}

int run(int argc, char** argv) {
  const auto word = [&](int i, const char* fallback) { return i < argc ? argv[i] : fallback; };
  if (argc < 4) return std::fprintf(stderr, "usage: scheduler_probe MODEL CACHE_MB REPRODUCIBLE [THREADS ...]\n"), 2;
  Model model = Model::load(open_model_file(argv[1]));
  const Tokenizer tokenizer(model.file().tokenizer_data());
  ThreadPool threads(std::atoi(word(4, "0")));
  SchedulerConfig config;
  config.cache_types = {{"k3v2", codec_config("k3v2")}};
  config.cache_bytes = std::atoll(argv[2]) << 20;
  config.is_reproducible = std::string(argv[3]) == "1";
  config.parallel = std::atoi(word(5, "32"));
  config.chunk = std::atoi(word(6, "512"));
  config.prefix_dir = word(7, "");
  config.max_queue = 1000;
  Scheduler scheduler(model, tokenizer, threads, config);
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::shared_ptr<Answer>> answers;
  std::size_t waited = 0;
  const auto wait_for_all = [&] {
    for (; waited < answers.size(); ++waited) {
      answers[waited]->wait();
      for (const Json& line : answers[waited]->choices) std::cout << line << std::endl;
    }
  };
  for (std::string line; std::getline(std::cin, line);) {
    const Json wanted = Json::parse(line);
    wanted.contains("wait") ? wait_for_all() : answers.push_back(ask(scheduler, wanted, answers.size()));
  }
  wait_for_all();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  scheduler.drain(60);
  const Accounts accounts = scheduler.accounts();
  std::cout << Json{{"seconds", seconds},
                    {"computed", accounts.computed_tokens},
                    {"parkings", accounts.parkings},
                    {"evicted", accounts.caches[0].evicted_pages},
                    {"memory_bytes", accounts.caches[0].memory.total()},
                    {"capacity_tokens", accounts.caches[0].capacity_tokens}}
            << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
