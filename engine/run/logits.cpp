// Stretches of rows of one kind are multiplied together; those that a callback takes go one by one.
#include "logits.hpp"

#include <algorithm>
#include <cmath>

#include "rows.hpp"

namespace qjl::engine {

LogitPass::LogitPass(LoadedModel& model, std::span<const ForwardItem> items, const ForwardOptions& options, ThreadPool& threads)
    : config_(model.config),
      weights_(model.weights),
      s_(model.scratch),
      ops_(row_ops()),
      items_(items),
      options_(options),
      threads_(threads) {}

// Of every item, cut so that a stretch is never more than a block.
void LogitPass::find_rows() {
  s_.logit_rows.clear();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const ForwardLogits wanted = items_[i].logits.value_or(options_.logits);
    const bool has_kind = items_[i].rows != RowKind::by_count;
    if (wanted == ForwardLogits::last) {
      s_.logit_rows.push_back({i, tokens(i) - 1, 1, has_kind ? RowKind::decode : RowKind::by_count, true});
    }
    for (std::int64_t first = 0; wanted == ForwardLogits::all && first < tokens(i); first += kBlockTokens) {
      s_.logit_rows.push_back({i, first, std::min(kBlockTokens, tokens(i) - first), has_kind ? RowKind::prompt : RowKind::by_count,
                               !options_.on_logits});
    }
  }
}

// Rows of one kind, at most a block: out [rows, vocab_size].
void LogitPass::logits_of(std::span<const LogitRows> list, RowKind kind, float* out) {
  const std::int64_t hidden = config_.hidden, vocab = config_.vocab_size;
  std::int64_t n = 0;
  for (const LogitRows& rows : list) n += rows.count;
  float* input = grow(s_.logits_input, n * hidden);
  n = 0;
  for (const LogitRows& rows : list) {
    for_rows(0, rows.count, threads_, [&](std::int64_t t) {
      const std::int64_t row = s_.first_row[rows.item] + rows.first + t;
      ops_.rms_norm(s_.hidden.data() + row * hidden, weights_.output_norm.data(), config_.norm_epsilon, hidden,
                    input + (n + t) * hidden);
    });
    n += rows.count;
  }
  const Product product{&weights_.output, out, vocab};
  multiply({{&product, 1}, {input, n, hidden}, options_.arithmetic, &weights_.layers.front().first(), kind}, s_.products, threads_);
  if (config_.logit_scale != 1.0f) ops_.scale(out, config_.logit_scale, n * vocab);
  if (const float cap = config_.logit_soft_cap; cap != 0.0f) {
    for (std::int64_t i = 0; i < n * vocab; ++i) out[i] = cap * std::tanh(out[i] / cap);
  }
}

std::span<const float> LogitPass::run() {
  find_rows();
  const std::int64_t vocab = config_.vocab_size;
  std::int64_t returned = 0, done = 0;
  for (const LogitRows& rows : s_.logit_rows) returned += rows.is_returned ? rows.count : 0;
  grow(s_.logits, returned * vocab);
  for (std::size_t i = 0, end = 0; i < s_.logit_rows.size(); i = end) {
    const LogitRows& first = s_.logit_rows[i];
    std::int64_t n = first.count;
    for (end = i + 1; end < s_.logit_rows.size() && first.is_returned && s_.logit_rows[end].is_returned; ++end) {
      if (s_.logit_rows[end].kind != first.kind || first.kind == RowKind::prompt || n + s_.logit_rows[end].count > kBlockTokens)
        break;
      n += s_.logit_rows[end].count;
    }
    float* out = first.is_returned ? s_.logits.data() + done * vocab : grow(s_.taken_logits, n * vocab);
    logits_of(std::span(s_.logit_rows).subspan(i, end - i), first.kind, out);
    if (first.is_returned)
      done += n;
    else
      options_.on_logits(first.item, first.first, {out, static_cast<std::size_t>(n * vocab)});
  }
  return std::span(s_.logits).first(static_cast<std::size_t>(returned * vocab));
}

}  // namespace qjl::engine
