// On the default model: page-aligned chunks through a compressed cache compute what a token-by-token decode computes.
//
// The two add in another order. Until the stream seals a page of its own both read the same codes. On a target without byte loops
// (scalar, which ctest runs too) only fp32 noise is left, which the trained model's large activations bring to 1e-7 of divergence;
// bound 1e-6. Elsewhere the chunk reads them exactly, a single query by 8-bit tables and weights: their variance is at most 1.5 %
// of the codes' own (byte_loops_test), and the divergence goes with the variance.
//
// After that a share f of the codes differ, where noise fell across a tie. A number's code error has the variance step^2 / 12, a
// changed code moves it by a step: divergence at most 12 f of the codec's own. f is counted in the pages: 2 % at most for fp32
// noise, and for byte loops less than the 1/12 at which that bound would say nothing. A query that read its open page in coded form
// breaks all three; a page sealed too early or too late is not the page of the same rows appended at once.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "eval_metrics.hpp"
#include "model.hpp"
#include "qjl/simd.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kPrompt = 200, kContext = 420;  // pages end at 256 and 384
const std::filesystem::path kRoot = QJL_SOURCE_DIR, kModel = kRoot / ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";

const bool kByteLoops = simd_target() != SimdTarget::scalar;

std::vector<Token> read_tokens(const Model& model) {
  std::ifstream file(kRoot / "examples/texts/south.txt");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  text.resize(std::min<std::size_t>(text.size(), 4000));
  std::vector<Token> ids = Tokenizer(model.file().tokenizer_data()).encode(text, Tokenizer::Special::text);
  EXPECT_GE(std::ssize(ids), kContext);
  return ids;
}

// Keys and values of a layer, [kv_heads, kContext, head_dim], as the model computes them.
struct LayerRows {
  std::int64_t dim = 0;
  std::vector<float> keys, values;

  void put(std::int64_t begin, const TensorView& new_keys, const TensorView& new_values) {
    dim = new_keys.dim;
    const auto copy = [&](const TensorView& from, std::vector<float>& to) {
      to.resize(static_cast<std::size_t>(from.heads * kContext * dim));
      for (std::int64_t row = 0; row < from.heads * from.tokens; ++row) {
        const std::int64_t head = row / from.tokens, t = row % from.tokens;
        std::copy_n(static_cast<const float*>(from.data) + head * from.head_stride + t * from.token_stride, dim,
                    to.begin() + (head * kContext + begin + t) * dim);
      }
    };
    copy(new_keys, keys);
    copy(new_values, values);
  }
  TensorView view(const std::vector<float>& rows) const {
    return TensorView::contiguous(rows.data(), DType::f32, std::ssize(rows) / (kContext * dim), kContext, dim);
  }
};

struct Streaming : testing::Test {
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << kModel << " is absent; ./dev model gets it";
    model = std::make_unique<Model>(Model::load(open_model_file(kModel)));
    ids = read_tokens(*model);
  }

  // Logits of tokens [begin, end); their rows to `rows`, if given.
  std::vector<float> run(KvCache& cache, SequenceId sequence, std::int64_t begin, std::int64_t end,
                         std::vector<LayerRows>* rows = nullptr) {
    const ForwardItem item{sequence,
                           std::span(ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))};
    ForwardOptions options;
    options.logits = ForwardOptions::Logits::all;
    if (rows != nullptr) {
      rows->resize(static_cast<std::size_t>(model->config().num_layers));
      options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
        (*rows)[static_cast<std::size_t>(layer)].put(begin, keys, values);
      };
    }
    const std::span<const float> logits = model->forward(cache, {&item, 1}, options, threads);
    return {logits.begin(), logits.end()};
  }

  // Sum of the divergences of the rows of `found` from those of `wanted`.
  double divergence(std::span<const float> wanted, std::span<const float> found) const {
    const auto vocab = static_cast<std::size_t>(model->config().vocab_size);
    double total = 0;
    for (std::size_t at = 0; at < wanted.size(); at += vocab) {
      const auto p = wanted.subspan(at, vocab), q = found.subspan(at, vocab);
      total += compare_logits(p, log_sum_exp(p), q, log_sum_exp(q)).kld;
    }
    return total;
  }

  // Share of the bytes of page 1 and 2 that differ between two sequences.
  double changed_bytes(const KvCache& cache, SequenceId a, const KvCache& other, SequenceId b) const {
    std::int64_t changed = 0, total = 0;
    for (int layer = 0; layer < model->config().num_layers; ++layer) {
      for (int head = 0; head < model->config().num_kv_heads; ++head) {
        for (const std::int64_t page : {1, 2}) {
          const auto first = cache.page(a, layer, head, page).body, second = other.page(b, layer, head, page).body;
          total += std::ssize(first);
          for (std::size_t i = 0; i < first.size(); ++i) changed += first[i] != second[i];
        }
      }
    }
    return static_cast<double>(changed) / static_cast<double>(total);
  }

  std::unique_ptr<Model> model;
  std::vector<Token> ids;
  ThreadPool threads{2};
};

TEST_F(Streaming, ChunksAgreeWithTokenByToken) {
  KvCache cache(model->cache_config(codec_config("k3v2"), kContext, 2)),
      at_once(model->cache_config(codec_config("k3v2"), kContext)), exact_cache(model->cache_config(codec_config("f16"), kContext));
  const SequenceId chunks = cache.create(), exact = exact_cache.create();
  std::vector<LayerRows> rows;  // of the stream
  run(cache, chunks, 0, kPrompt, &rows);
  run(exact_cache, exact, 0, kPrompt);
  const SequenceId stream = cache.fork(chunks);
  const auto positions = static_cast<double>(kContext - kPrompt);
  double streamed = 0, codec = 0;
  for (std::int64_t begin = kPrompt, end = 0; begin < kContext; begin = end) {
    end = std::min(kContext, (begin / 128 + 1) * 128);
    const std::vector<float> wanted = run(cache, chunks, begin, end);
    std::vector<float> found;
    for (std::int64_t t = begin; t < end; ++t) {
      const std::vector<float> row = run(cache, stream, t, t + 1, &rows);
      found.insert(found.end(), row.begin(), row.end());
    }
    streamed += divergence(wanted, found);
    codec += divergence(run(exact_cache, exact, begin, end), wanted);
    if (begin == kPrompt) {
      EXPECT_LE(streamed, kByteLoops ? 0.015 * codec : 1e-6 * static_cast<double>(end - begin)) << "while both read the same pages";
    }
  }
  const SequenceId same = at_once.create();
  for (int layer = 0; layer < model->config().num_layers; ++layer) {
    const LayerRows& all = rows[static_cast<std::size_t>(layer)];
    at_once.append(same, layer, all.view(all.keys), all.view(all.values), threads);
  }
  EXPECT_EQ(changed_bytes(cache, stream, at_once, same), 0.0) << "pages of the stream are not those of its rows";
  const double share = changed_bytes(cache, chunks, cache, stream);
  RecordProperty("divergence", std::to_string(streamed / positions));
  RecordProperty("changed", std::to_string(share));
  EXPECT_LE(share, kByteLoops ? 1.0 / 12.0 : 0.02);
  EXPECT_LE(streamed, 12 * share * codec) << "mean " << streamed / positions << ", the codec's own " << codec / positions;
}

}  // namespace
}  // namespace qjl::engine
