// The exact keys, values and queries of a text, layer by layer, as studies look at them.
//
// One exact pass; only one layer's numbers exist at a time. Cost: the pass, and a copy.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model.hpp"
#include "rope.hpp"

namespace qjl::engine {

// Rows [heads, tokens, dim], contiguous, fp32.
struct CapturedRows {
  std::int64_t heads = 0, tokens = 0, dim = 0;
  std::vector<float> numbers;

  std::span<const float> row(std::int64_t head, std::int64_t token) const {
    return std::span(numbers).subspan(static_cast<std::size_t>((head * tokens + token) * dim), static_cast<std::size_t>(dim));
  }
  std::span<float> row(std::int64_t head, std::int64_t token) {
    return std::span(numbers).subspan(static_cast<std::size_t>((head * tokens + token) * dim), static_cast<std::size_t>(dim));
  }
  TensorView view() const { return TensorView::contiguous(numbers.data(), DType::f32, heads, tokens, dim); }
};

struct CapturedLayer {
  int layer = 0;
  CapturedRows keys, values;  // [kv_heads, tokens, head_dim], keys after RoPE
  CapturedRows queries;       // [query_heads, last_queries, head_dim] after RoPE, of the text's last tokens
};

// Errors: those of Model::forward; what `look` throws ends the pass.
void capture(Model& model, std::span<const Token> tokens, std::int64_t last_queries, ThreadPool& threads,
             const std::function<void(const CapturedLayer&)>& look);

// The keys as they were before their layer's RoPE: every pair turned back by its position's angle. Rows stand for positions 0, 1, ...
CapturedRows keys_before_rope(const RopeConfig& rope, const CapturedRows& keys);

}  // namespace qjl::engine
