// FeedForward. feed_forward.hpp has the formulas.
#include "feed_forward.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rows.hpp"

namespace qjl::engine {
namespace {

using ActivateRow = void (*)(float* gate, const float* up, std::int64_t n);

ActivateRow activation_of(Activation activation, const RowOps& ops) {
  switch (activation) {
    case Activation::silu: return ops.silu_mul;
    case Activation::gelu_tanh: return ops.gelu_mul;
    case Activation::clamped_swiglu: return ops.clamped_swiglu_mul;
  }
  return nullptr;
}

void add_bias(const RowOps& ops, const std::vector<float>& bias, float* row) {
  if (!bias.empty()) ops.add(row, bias.data(), std::ssize(bias));
}

}  // namespace

std::int64_t FeedForwardScratch::bytes() const {
  std::int64_t total = 0;
  for (const std::vector<float>* buffer : {&gate, &up, &router, &inputs, &outputs}) {
    total += static_cast<std::int64_t>(buffer->capacity() * sizeof(float));
  }
  for (const auto& rows : users) total += static_cast<std::int64_t>(rows.capacity() * sizeof(rows[0]));
  return total;
}

FeedForward::FeedForward(const ModelConfig& config, Arithmetic arithmetic, FeedForwardScratch& scratch, ProductScratch& products,
                         ThreadPool& threads)
    : config_(config),
      arithmetic_(arithmetic),
      s_(scratch),
      products_(products),
      threads_(threads),
      ops_(row_ops()),
      activate_(activation_of(config.family->activation, ops_)) {}

void FeedForward::run_dense(const FeedForwardWeights& weights, const float* x, std::int64_t tokens, const Weight* next, float* y) {
  const std::int64_t width = weights.gate.rows, hidden = config_.hidden;
  float *gate = grow(s_.gate, tokens * width), *up = grow(s_.up, tokens * width);
  const Product products[] = {{&weights.gate, gate, width}, {&weights.up, up, width}};
  multiply({products, {x, tokens, hidden}, arithmetic_, &weights.down, kind_}, products_, threads_);
  for_rows(0, tokens, threads_, [&](std::int64_t t) {
    add_bias(ops_, weights.gate_bias, gate + t * width);
    add_bias(ops_, weights.up_bias, up + t * width);
    activate_(gate + t * width, up + t * width, width);
  });
  const Product down{&weights.down, y, hidden};
  multiply({{&down, 1}, {gate, tokens, width}, arithmetic_, next, kind_}, products_, threads_);
  if (weights.down_bias.empty()) return;
  for_rows(0, tokens, threads_, [&](std::int64_t t) { add_bias(ops_, weights.down_bias, y + t * hidden); });
}

// Fills users: which rows choose each expert, and with what weight.
void FeedForward::route(const ExpertWeights& experts, const float* x, std::int64_t tokens) {
  const auto count = static_cast<std::int64_t>(experts.routed.size());
  float* logits = grow(s_.router, tokens * count);
  const Product product{&experts.router, logits, count};
  multiply({{&product, 1}, {x, tokens, config_.hidden}, Arithmetic::exact, nullptr, kind_}, products_, threads_);
  s_.users.resize(experts.routed.size());
  for (auto& rows : s_.users) rows.clear();
  std::vector<std::int64_t>& order = s_.order;
  order.resize(experts.routed.size());
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* row = logits + t * count;
    add_bias(ops_, experts.router_bias, row);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const auto chosen_end = order.begin() + config_.experts.used;
    std::partial_sort(order.begin(), chosen_end, order.end(),
                      [row](std::int64_t a, std::int64_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
    const float largest = row[order.front()];
    const auto summed_end = config_.experts.routing == Routing::softmax_of_all ? order.end() : chosen_end;
    float sum = 0.0f;
    for (auto e = order.begin(); e != summed_end; ++e) sum += std::exp(row[*e] - largest);
    for (auto e = order.begin(); e != chosen_end; ++e) {
      s_.users[static_cast<std::size_t>(*e)].emplace_back(t, std::exp(row[*e] - largest) / sum);
    }
  }
}

// y += w[e] dense_e(x) for every expert and the rows that chose it, brought together.
void FeedForward::run_routed(const ExpertWeights& experts, const float* x, float* y) {
  const std::int64_t hidden = config_.hidden;
  for (std::size_t e = 0; e < s_.users.size(); ++e) {
    const auto& users = s_.users[e];
    const std::int64_t n = std::ssize(users);
    if (n == 0) continue;
    float *inputs = grow(s_.inputs, n * hidden), *outputs = grow(s_.outputs, n * hidden);
    for_rows(0, n, threads_, [&](std::int64_t i) {
      std::copy_n(x + users[static_cast<std::size_t>(i)].first * hidden, hidden, inputs + i * hidden);
    });
    run_dense(experts.routed[e], inputs, n, nullptr, outputs);
    for_rows(0, n, threads_, [&](std::int64_t i) {
      const auto& [row, weight] = users[static_cast<std::size_t>(i)];
      ops_.scale(outputs + i * hidden, weight, hidden);
      ops_.add(y + row * hidden, outputs + i * hidden, hidden);
    });
  }
}

void FeedForward::add_shared(const ExpertWeights& experts, const float* x, std::int64_t tokens, const Weight& next, float* y) {
  const std::int64_t hidden = config_.hidden;
  float *outputs = grow(s_.outputs, tokens * hidden), *gates = grow(s_.router, tokens);
  run_dense(experts.shared, x, tokens, &next, outputs);
  const bool has_gate = experts.shared_gate.data != nullptr;
  if (has_gate) {
    const Product product{&experts.shared_gate, gates, 1};
    multiply({{&product, 1}, {x, tokens, hidden}, Arithmetic::exact, nullptr, kind_}, products_, threads_);
  }
  for_rows(0, tokens, threads_, [&](std::int64_t t) {
    if (has_gate) ops_.scale(outputs + t * hidden, 1.0f / (1.0f + std::exp(-gates[t])), hidden);
    ops_.add(y + t * hidden, outputs + t * hidden, hidden);
  });
}

void FeedForward::run(const LayerWeights& layer, const float* x, std::int64_t tokens, RowKind kind, const Weight& next, float* y) {
  kind_ = kind;
  if (!layer.has_experts()) return run_dense(layer.dense, x, tokens, &next, y);
  std::fill_n(y, tokens * config_.hidden, 0.0f);
  route(layer.experts, x, tokens);
  run_routed(layer.experts, x, y);
  if (layer.experts.shared.down.data != nullptr) add_shared(layer.experts, x, tokens, next, y);
}

}  // namespace qjl::engine
