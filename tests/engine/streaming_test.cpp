// On the default model: page-aligned chunks through a compressed cache compute what a token-by-token decode computes.
//
// The two differ by the order of fp32 sums. Their noise (1e-6) can push a number across a tie of the codec, which then
// changes by a step; that happens to about 1e-4 of the numbers (noise / step), so the divergence stays far below the codec's own
// (0.019 for k3v2). Bound: one hundredth of it. A query that read its own open page in coded form, or a page sealed too early or
// late, gives more than the codec's own divergence.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "eval_metrics.hpp"
#include "gguf.hpp"
#include "model.hpp"

namespace qjl::engine {
namespace {

constexpr double kMostKld = 0.019 / 100;
const std::filesystem::path kModel = std::filesystem::path(QJL_SOURCE_DIR) / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";

TEST(Streaming, ChunksAgreeWithTokenByToken) {
  if (!std::filesystem::exists(kModel)) GTEST_SKIP() << kModel << " is absent; ./dev model gets it";
  Model model = Model::load(GgufFile::open(kModel));
  ThreadPool threads(2);
  constexpr std::int64_t kPrompt = 200, kContext = 420;  // pages end at 256 and 384
  std::mt19937_64 random(1);
  std::vector<Token> ids;  // words of a small circle, so that attention has something to find
  for (std::int64_t i = 0; i < kContext; ++i) ids.push_back(static_cast<Token>(1000 + random() % 40 * 7));

  KvCache cache(model.cache_config(codec_config("k3v2"), kContext, 2));
  const auto run = [&](SequenceId sequence, std::int64_t begin, std::int64_t end) {
    const ForwardItem item{sequence,
                           std::span(ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))};
    ForwardOptions options;
    options.logits = ForwardOptions::Logits::all;
    const std::span<const float> logits = model.forward(cache, {&item, 1}, options, threads);
    return std::vector<float>(logits.begin(), logits.end());
  };
  const SequenceId chunks = cache.create();
  run(chunks, 0, kPrompt);
  const SequenceId stream = cache.fork(chunks);
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  double total = 0;
  for (std::int64_t begin = kPrompt; begin < kContext;) {
    const std::int64_t end = std::min(kContext, (begin / 128 + 1) * 128);
    const std::vector<float> wanted = run(chunks, begin, end);
    for (std::int64_t t = begin; t < end; ++t) {
      const std::vector<float> found = run(stream, t, t + 1);
      const auto row = std::span(wanted).subspan(static_cast<std::size_t>(t - begin) * vocab, vocab);
      total += compare_logits(row, log_sum_exp(row), found, log_sum_exp(found)).kld;
    }
    begin = end;
  }
  const double mean = total / (kContext - kPrompt);
  RecordProperty("mean_kld", std::to_string(mean));
  EXPECT_LE(mean, kMostKld);
}

}  // namespace
}  // namespace qjl::engine
