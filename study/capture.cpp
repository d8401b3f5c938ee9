// capture.hpp has the shapes.
#include "capture.hpp"

#include <algorithm>
#include <cstring>

#include "finite.hpp"
#include "qjl/codec.hpp"
#include "rope.hpp"

namespace qjl::engine {
namespace {

// The last `tokens` rows of each head of an fp32 view.
CapturedRows copy_rows(const TensorView& view, std::int64_t tokens) {
  CapturedRows rows{view.heads, std::min(tokens, view.tokens), view.dim, {}};
  rows.numbers.resize(static_cast<std::size_t>(rows.heads * rows.tokens * rows.dim));
  const auto* numbers = static_cast<const float*>(view.data);
  for (std::int64_t head = 0; head < rows.heads; ++head) {
    for (std::int64_t t = 0; t < rows.tokens; ++t) {
      const float* from = numbers + head * view.head_stride + (view.tokens - rows.tokens + t) * view.token_stride;
      std::copy_n(from, rows.dim, rows.row(head, t).data());
    }
  }
  return rows;
}

}  // namespace

void capture(Model& model, std::span<const Token> tokens, std::int64_t last_queries, ThreadPool& threads,
             const std::function<void(const CapturedLayer&)>& look) {
  KvCache exact(model.cache_config(codec_config("f16"), std::ssize(tokens)));
  CapturedLayer captured;
  ForwardOptions options;
  options.logits = ForwardOptions::Logits::none;
  options.observe_queries = [&](int, std::size_t, const TensorView& queries) {
    captured.queries = copy_rows(queries, last_queries);
  };
  options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
    captured.layer = layer;
    captured.keys = copy_rows(keys, keys.tokens);
    captured.values = copy_rows(values, values.tokens);
    for (const CapturedRows* rows : {&captured.queries, &captured.keys, &captured.values})
      require_finite(rows->numbers, "keys, values and queries");
    look(captured);
  };
  const ForwardItem item{exact.create(), tokens};
  model.forward(exact, {&item, 1}, options, threads);
}

CapturedRows keys_before_rope(const RopeConfig& rope, const CapturedRows& keys) {
  CapturedRows turned = keys;
  const auto frequencies = rope_frequencies(rope);
  std::vector<float> angles(2 * frequencies.size());  // cosines, sines
  for (std::int64_t t = 0; t < keys.tokens; ++t) {
    rope_angles(frequencies, t, angles.data());
    for (std::size_t i = frequencies.size(); i < angles.size(); ++i) angles[i] = -angles[i];
    for (std::int64_t head = 0; head < keys.heads; ++head) {
      rope_rotate(rope, angles.data(), 1, static_cast<int>(keys.dim), turned.row(head, t).data());
    }
  }
  return turned;
}

}  // namespace qjl::engine
