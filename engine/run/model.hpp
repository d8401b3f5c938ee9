// A decoder-only transformer of any family in engine/models on the doors of libqjl.
//
//   h = scale embedding[token];  per layer: h += norm?(Wo attend(rope(norm?(Wq x)), ...)),
//   h += norm?(Wdown(activation(Wgate x) * Wup x)), x = rmsnorm(h);  logits = cap?(output rmsnorm(h))
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model_config.hpp"
#include "model_file.hpp"
#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "tokenizer.hpp"
#include "weights.hpp"

namespace qjl::engine {

// Which of an item's rows get logits: one per token, the last one alone, or none.
enum class ForwardLogits : std::uint8_t { none, last, all };

// One sequence's new tokens in a forward pass.
struct ForwardItem {
  SequenceId sequence{};
  std::span<const Token> tokens;
  std::optional<ForwardLogits> logits = {};  // instead of the options'
  // Other than by_count: what the item gives depends on its sequence, its tokens and its kind alone, to the bit, whatever the other
  // items are. A logit of `last` is then multiplied as a decode row, those of `all` as prompt rows; a decode item has one token.
  RowKind rows = RowKind::by_count;
};

struct ForwardOptions {
  using Logits = ForwardLogits;
  Logits logits = Logits::last;
  Arithmetic arithmetic = Arithmetic::exact;
  // Called once per layer that attends (counted among these) and item with its keys (after RoPE) and values, [kv_heads, tokens,
  // head_dim], before they are appended to the cache; valid during the call. `eval` fills its other caches with it.
  std::function<void(int layer, std::size_t item, const TensorView& keys, const TensorView& values)> observe_kv;
  // The same for the queries after RoPE, [query_heads, tokens, head_dim], just before observe_kv.
  std::function<void(int layer, std::size_t item, const TensorView& queries)> observe_queries = {};
  // Takes the logits of items that have `all`, in order, at most 256 rows at a time, so that no more of them exist at once: rows
  // [count, vocab_size] of the item's tokens from `first` on, valid during the call.
  std::function<void(std::size_t item, std::int64_t first, std::span<const float> rows)> on_logits = {};
};

class Model {
 public:
  // Keeps the file open. Errors: bad_file on missing tensors or wrong shapes (found and wanted), unsupported on an architecture.
  static Model load(std::unique_ptr<ModelFile> file, const RopeOptions& rope = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const ModelConfig& config() const;
  const ModelFile& file() const;
  std::int64_t weight_bytes() const;

  // What of them takes memory: prepare() puts a packed copy in the place of the file's bytes, which an embedding still reads.
  std::int64_t resident_weight_bytes() const;
  std::int64_t packed_weight_bytes() const;  // of the copy alone

  // Bytes of the matrices that forward() has multiplied with since the model was loaded: what its steps have read.
  std::int64_t weight_bytes_read() const;

  // A cache shape for this model. codec e.g. codec_config("k3v2"); room for num_sequences of context_tokens each.
  CacheConfig cache_config(const CodecConfig& codec, std::int64_t context_tokens, int num_sequences = 1) const;

  // Runs the items through all layers: their tokens attend to their cached sequence and exactly to each other, then are appended.
  // Layer by layer, so that only one layer's 16-bit keys and values exist at a time. Returns logits, row-major
  // [rows, vocab_size], in item order: one row (last), one per token (all, unless on_logits takes them), or none of each item; valid
  // until the next call.
  // The first call with fast arithmetic repacks the weights (prepare()). Errors: invalid_argument on a token outside the vocabulary;
  // out_of_pages (nothing appended).
  std::span<const float> forward(KvCache& cache, std::span<const ForwardItem> items, const ForwardOptions& options,
                                 ThreadPool& threads);

  // Makes now what the first call with this arithmetic would make.
  void prepare(Arithmetic arithmetic, ThreadPool& threads);

  // Largest bytes of activations and scratch memory that forward() has held.
  std::int64_t peak_scratch_bytes() const;

 private:
  Model();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::engine
