// qjl_row_kinds MODEL [THREADS] [CACHE]: what it costs that a row has the same bits whoever else is there (RowKind), beside rows that go
// the faster way for their number.
//
//   decode: sequences x 1 token at a depth;  mixed: the same beside a chunk of 512 tokens of another prompt
//
// A line of JSON per case: best of rounds in turn, seconds by_count and by_kind, their ratio.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "model.hpp"
#include "qjl/codec.hpp"
#include "rounds.hpp"
#include "serve.hpp"

namespace qjl::bench {
namespace {

using namespace engine;

constexpr std::int64_t kChunk = 512, kDepth = 512;

std::vector<Token> some_tokens(std::int64_t count, std::int64_t vocab) {
  std::vector<Token> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<Token>((i * 7919 + 13) % vocab));
  return out;
}

class Case {
 public:
  Case(Model& model, const std::string& cache, ThreadPool& threads, int sequences, bool has_chunk)
      : model_(model),
        threads_(threads),
        cache_(model.cache_config(codec_config(cache), kDepth + kChunk + 128, sequences + 1)),
        prompt_(some_tokens(kDepth, model.config().vocab_size)),
        chunk_(some_tokens(kChunk, model.config().vocab_size)) {
    const SequenceId first = cache_.create();
    const ForwardItem item{first, prompt_, ForwardLogits::none, RowKind::prompt};
    model.forward(cache_, {&item, 1}, {.arithmetic = Arithmetic::fast, .observe_kv = {}}, threads);
    sequences_.push_back(first);
    while (std::ssize(sequences_) < sequences) sequences_.push_back(cache_.fork(first));
    if (has_chunk) reader_ = cache_.fork(first);
  }

  void run(bool by_kind) {
    std::vector<ForwardItem> items;
    for (const SequenceId sequence : sequences_)
      items.push_back({sequence, std::span(prompt_).first(1), ForwardLogits::last, by_kind ? RowKind::decode : RowKind::by_count});
    if (reader_ != SequenceId{})
      items.push_back({reader_, chunk_, ForwardLogits::none, by_kind ? RowKind::prompt : RowKind::by_count});
    model_.forward(cache_, items, {.arithmetic = Arithmetic::fast, .observe_kv = {}}, threads_);
    for (const ForwardItem& item : items) cache_.truncate(item.sequence, kDepth);
  }

 private:
  Model& model_;
  ThreadPool& threads_;
  KvCache cache_;
  std::vector<Token> prompt_, chunk_;
  std::vector<SequenceId> sequences_;
  SequenceId reader_{};
};

int run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: qjl_row_kinds MODEL [THREADS] [CACHE]\n");
    return 2;
  }
  Model model = Model::load(open_model_file(argv[1]));
  ThreadPool threads(argc > 2 ? std::atoi(argv[2]) : 0);
  const std::string cache = argc > 3 ? argv[3] : "k3v2";
  for (const bool has_chunk : {false, true}) {
    for (const int sequences : {1, 4, 8, 12, 16, 32}) {
      Case work(model, cache, threads, sequences, has_chunk);
      Variant variants[] = {{"by_count", [&] { work.run(false); }}, {"by_kind", [&] { work.run(true); }}};
      run_rounds(variants, {.rounds = 12, .min_rounds = 4, .seconds = has_chunk ? 4.0 : 1.5}, nullptr);
      const double count = variants[0].timing().best, kind = variants[1].timing().best;
      const Json row = {{"sequences", sequences},
                        {"chunk", has_chunk ? kChunk : 0},
                        {"threads", threads.num_threads()},
                        {"cache", cache},
                        {"by_count_s", count},
                        {"by_kind_s", kind},
                        {"ratio", kind / count}};
      std::printf("%s\n", row.dump().c_str());
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace qjl::bench

int main(int argc, char** argv) {
  try {
    return qjl::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
