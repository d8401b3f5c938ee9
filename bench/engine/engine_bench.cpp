// qjl_engine_bench MODEL: prompts, decode steps and logits of a model on request, so that a driver can let another program
// take turns.
//
//   {"op": "open", "cache": "k3v2", "context": 8192, "sequences": 1}         an empty cache; forgets the one before
//   {"op": "threads", "count": 2}
//   {"op": "prompt", "tokens": [...], "copies": 7}   -> {"seconds", "copy_seconds"}   appends to sequence 0 and to its copies
//   {"op": "stream"}                                 -> {"gb_per_s"}         a plain read of memory on the same threads
//   {"op": "decode", "token": 1, "steps": 8, "sequences": 1} -> {"seconds": [...]}  greedy steps, then cut back to where it was
//   {"op": "truncate", "tokens": 0}
//   {"op": "memory"}                                 -> {"cache_bytes", "resident_bytes"}
//   {"op": "logits", "tokens": [...], "first": 512, "arithmetic": "exact", "file": F}   f16 cache;
//                                                       the file gets fp32 rows of positions first .. end
//
// Every answer is a line of JSON. Copies are real: each sequence has its own pages.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "model.hpp"
#include "qjl/codec.hpp"
#include "rounds.hpp"
#include "serve.hpp"
#include "stream.hpp"

namespace qjl::bench {
namespace {

using engine::ForwardItem;
using engine::ForwardOptions;
using engine::Token;

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

// Quantised weights times small numbers, as `qjl run` does, or all in fp32.
template <typename Options>
void choose_arithmetic(Options& options, bool fast) {
  if constexpr (requires { options.arithmetic; }) {
    using Arithmetic = decltype(options.arithmetic);
    options.arithmetic = fast ? Arithmetic::fast : Arithmetic::exact;
  }
}

class EngineServer {
 public:
  explicit EngineServer(const std::string& path)
      : model_(engine::Model::load(engine::open_model_file(path))), threads_(pinned_pool(1)) {}

  Json answer(const Json& request) {
    const std::string op = request.at("op");
    if (op == "open") return open(request);
    if (op == "threads") return set_threads(request.at("count"));
    if (op == "prompt") return prompt(request);
    if (op == "decode") return decode(request);
    if (op == "truncate") return truncate(request.at("tokens"));
    if (op == "memory") return memory();
    if (op == "stream") return stream();
    if (op == "logits") return logits(request);
    throw std::runtime_error("[engine_bench] found op " + op);
  }

 private:
  Json open(const Json& request) {
    const int sequences = request.at("sequences");
    cache_.reset();
    cache_ = std::make_unique<KvCache>(
        model_.cache_config(codec_config(request.at("cache").get<std::string>()), request.at("context"), sequences));
    sequences_.clear();
    for (int i = 0; i < sequences; ++i) sequences_.push_back(cache_->create());
    return memory();
  }

  Json set_threads(int count) {
    auto pool = pinned_pool(count);
    if (pool == nullptr) throw std::runtime_error("[engine_bench] found fewer processors than threads");
    threads_ = std::move(pool);
    return Json::object();
  }

  Json prompt(const Json& request) {
    const auto tokens = request.at("tokens").get<std::vector<Token>>();
    const std::size_t copies = request.value("copies", std::size_t{0});
    ForwardOptions options;
    choose_arithmetic(options, true);
    double copy_seconds = 0;
    if (copies > 0) {
      options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
        const double start = now_seconds();
        for (std::size_t i = 1; i <= copies; ++i) cache_->append(sequences_.at(i), layer, keys, values, *threads_);
        copy_seconds += now_seconds() - start;
      };
    }
    const ForwardItem item{sequences_.front(), tokens};
    const double start = now_seconds();
    model_.forward(*cache_, {&item, 1}, options, *threads_);
    return {{"seconds", now_seconds() - start}, {"copy_seconds", copy_seconds}};
  }

  // The best lead, the median of its rounds: what a step can count on.
  Json stream() {
    constexpr std::int64_t kBytes = std::int64_t{256} << 20;
    if (stream_memory_.bytes() == 0) stream_memory_ = HugeBuffer(kBytes);
    auto variants = Stream(stream_memory_, kBytes, *threads_).variants();
    run_rounds(variants, {.rounds = 8, .min_rounds = 3, .seconds = 1.0}, nullptr);
    double least = variants.front().timing().median;
    for (const auto& variant : variants) least = std::min(least, variant.timing().median);
    return {{"gb_per_s", static_cast<double>(kBytes) / least * 1e-9}};
  }

  Json decode(const Json& request) {
    const std::size_t count = request.value("sequences", std::size_t{1});
    const std::int64_t length = cache_->num_tokens(sequences_.front());
    std::vector<Token> next(count, request.at("token").get<Token>());
    std::vector<ForwardItem> items;
    for (std::size_t i = 0; i < count; ++i) items.push_back({sequences_.at(i), {&next[i], 1}});
    ForwardOptions options;
    choose_arithmetic(options, true);
    const auto vocabulary = static_cast<std::ptrdiff_t>(model_.config().vocab_size);
    Json seconds = Json::array();
    for (int step = 0; step < request.at("steps").get<int>(); ++step) {
      const double start = now_seconds();
      const auto rows = model_.forward(*cache_, items, options, *threads_);
      for (std::size_t i = 0; i < count; ++i) {
        const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i) * vocabulary;
        next[i] = static_cast<Token>(std::max_element(row, row + vocabulary) - row);
      }
      seconds.push_back(now_seconds() - start);
    }
    for (std::size_t i = 0; i < count; ++i) cache_->truncate(sequences_[i], length);
    return {{"seconds", seconds}};
  }

  Json truncate(std::int64_t tokens) {
    for (const SequenceId sequence : sequences_) {
      if (cache_->num_tokens(sequence) > tokens) cache_->truncate(sequence, tokens);
    }
    return Json::object();
  }

  Json memory() const { return {{"cache_bytes", cache_->memory_report().total()}, {"resident_bytes", resident_bytes()}}; }

  // In chunks, so that no more than a chunk's rows are held.
  Json logits(const Json& request) {
    const auto tokens = request.at("tokens").get<std::vector<Token>>();
    const auto first = request.at("first").get<std::size_t>();
    KvCache cache(model_.cache_config(codec_config("f16"), static_cast<std::int64_t>(tokens.size())));
    const SequenceId sequence = cache.create();
    ForwardOptions options;
    choose_arithmetic(options, request.at("arithmetic") == "fast");
    std::ofstream file(request.at("file").get<std::string>(), std::ios::binary);
    constexpr std::size_t kChunk = 128;
    for (std::size_t at = 0; at < tokens.size(); at += kChunk) {
      const std::size_t count = std::min(kChunk, tokens.size() - at);
      const ForwardItem item{sequence, std::span(tokens).subspan(at, count)};
      options.logits = at >= first ? ForwardOptions::Logits::all : ForwardOptions::Logits::none;
      const auto rows = model_.forward(cache, {&item, 1}, options, *threads_);
      file.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(rows.size_bytes()));
    }
    if (!file) throw std::runtime_error("[engine_bench] cannot write the logits");
    return {{"vocabulary", model_.config().vocab_size}};
  }

  engine::Model model_;
  std::unique_ptr<ThreadPool> threads_;
  std::unique_ptr<KvCache> cache_;
  std::vector<SequenceId> sequences_;
  HugeBuffer stream_memory_;
};

}  // namespace
}  // namespace qjl::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "qjl_engine_bench MODEL.gguf, then a JSON request a line\n");
    return 2;
  }
  try {
    qjl::bench::EngineServer server(argv[1]);
    qjl::bench::answer_lines([&](const qjl::bench::Json& request) { return server.answer(request); });
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
