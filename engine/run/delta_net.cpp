// DeltaNet. delta_net.hpp has the formulas.
#include "delta_net.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "rows.hpp"

namespace qjl::engine {
namespace {

constexpr double kUnitEpsilon = 1e-6;  // beside the sum of squares of a query or key
constexpr int kMostKernel = 64;

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
// log(1 + exp(x)), which is x where exp would overflow.
float softplus(float x) { return x > 30.0f ? x : std::log1p(std::exp(x)); }

}  // namespace

std::int64_t DeltaScratch::bytes() const {
  std::int64_t total = 0;
  for (const auto* buffer : {&mixed, &convolved, &gate, &answers, &decay, &rate, &query_units, &key_units}) {
    total += static_cast<std::int64_t>(buffer->capacity() * sizeof(float));
  }
  return total;
}

DeltaNet::DeltaNet(const ModelConfig& config, Arithmetic arithmetic, DeltaScratch& scratch, ProductScratch& products,
                   ThreadPool& threads)
    : config_(config),
      shape_(config.delta),
      arithmetic_(arithmetic),
      s_(scratch),
      products_(products),
      threads_(threads),
      ops_(row_ops()),
      delta_(delta_ops()) {}

// Decays and rates stay in fp32 as routers do: a state feels their errors for as long as it remembers.
void DeltaNet::project(const DeltaWeights& weights, const DeltaRows& rows) {
  const auto& [x, tokens, kind] = rows;
  const std::int64_t hidden = config_.hidden, heads = shape_.value_heads;
  const Product small[] = {{&weights.decay, grow(s_.decay, tokens * heads), heads},
                           {&weights.rate, grow(s_.rate, tokens * heads), heads}};
  multiply({small, {x, tokens, hidden}, Arithmetic::exact, &weights.mixed, kind}, products_, threads_);
  const Product wide[] = {
      {&weights.mixed, grow(s_.mixed, tokens * shape_.mixed_width()), shape_.mixed_width()},
      {&weights.gate, grow(s_.gate, tokens * shape_.value_width()), shape_.value_width()},
  };
  multiply({wide, {x, tokens, hidden}, arithmetic_, &weights.output, kind}, products_, threads_);
  for (std::int64_t i = 0; i < tokens * heads; ++i) {
    const auto head = static_cast<std::size_t>(i % heads);
    s_.decay[static_cast<std::size_t>(i)] =
        std::exp(weights.slope[head] * softplus(s_.decay[static_cast<std::size_t>(i)] + weights.decay_bias[head]));
    s_.rate[static_cast<std::size_t>(i)] = sigmoid(s_.rate[static_cast<std::size_t>(i)]);
  }
}

// Queries, keys and values of a part's rows.
void DeltaNet::convolve(const DeltaWeights& weights, const DeltaPart& part) {
  const std::int64_t width = shape_.mixed_width(), kept = shape_.kernel - 1;
  for_rows(0, part.count, threads_, [&](std::int64_t t) {
    std::array<const float*, kMostKernel> rows;
    for (std::int64_t j = 0; j <= kept; ++j) {
      const std::int64_t at = t - kept + j;  // of the part; what is before it the state has
      rows[static_cast<std::size_t>(j)] = at < 0 ? part.state + (at + kept) * width : s_.mixed.data() + (part.begin + at) * width;
    }
    float* out = s_.convolved.data() + (part.begin + t) * width;
    delta_.convolve(rows.data(), weights.taps.data(), shape_.kernel, width, out);
    const std::int64_t dim = shape_.key_dim;
    for (std::int64_t head = 0; head < 2 * shape_.key_heads; ++head, out += dim) {  // of queries, then of keys
      const std::vector<float>& units = head < shape_.key_heads ? s_.query_units : s_.key_units;
      ops_.rms_norm(out, units.data(), kUnitEpsilon / static_cast<double>(dim), dim, out);
    }
  });
}

void DeltaNet::keep_rows(const DeltaPart& part) const {
  const std::int64_t width = shape_.mixed_width(), kept = shape_.kernel - 1, stay = std::max<std::int64_t>(0, kept - part.count);
  std::copy_n(part.state + (kept - stay) * width, stay * width, part.state);
  const std::int64_t taken = kept - stay;
  std::copy_n(s_.mixed.data() + (part.begin + part.count - taken) * width, taken * width, part.state + stay * width);
}

// All tokens of a part through one head's matrix.
void DeltaNet::step(const DeltaPart& part, int value_head) const {
  const std::int64_t width = shape_.mixed_width(), heads = shape_.value_heads, dim = shape_.value_dim;
  const std::int64_t key_at = std::int64_t{shape_.key_head(value_head)} * shape_.key_dim, value_at = value_head * dim;
  float* matrix = part.state + shape_.row_numbers() + value_at * shape_.key_dim;
  for (std::int64_t row = part.begin; row < part.begin + part.count; ++row) {
    const float* mixed = s_.convolved.data() + row * width;
    const auto at = static_cast<std::size_t>(row * heads + value_head);
    const DeltaStep step{mixed + key_at, mixed + shape_.key_width() + key_at, mixed + 2 * shape_.key_width() + value_at,
                         s_.decay[at], s_.rate[at]};
    delta_.delta(step, shape_.key_dim, dim, matrix, s_.answers.data() + row * shape_.value_width() + value_at);
  }
}

void DeltaNet::run(const DeltaWeights& weights, std::span<const DeltaPart> parts, const DeltaRows& rows, const Weight& next,
                   float* y) {
  const std::int64_t tokens = rows.tokens;
  const std::int64_t values = shape_.value_width();
  const float unit = 1.0f / std::sqrt(static_cast<float>(shape_.key_dim));
  s_.key_units.assign(static_cast<std::size_t>(shape_.key_dim), unit);
  s_.query_units.assign(static_cast<std::size_t>(shape_.key_dim), unit * unit);  // the answers' 1 / sqrt(key_dim) besides
  grow(s_.convolved, tokens * shape_.mixed_width());
  grow(s_.answers, tokens * values);
  project(weights, rows);
  for (const DeltaPart& part : parts) convolve(weights, part);
  threads_.run(std::ssize(parts) * shape_.value_heads, [&](std::int64_t i, int) {
    step(parts[static_cast<std::size_t>(i / shape_.value_heads)], static_cast<int>(i % shape_.value_heads));
  });
  for (const DeltaPart& part : parts) keep_rows(part);
  for_rows(0, tokens, threads_, [&](std::int64_t t) {
    float *answer = s_.answers.data() + t * values, *gate = s_.gate.data() + t * values;
    for (std::int64_t at = 0; at < values; at += shape_.value_dim)
      ops_.rms_norm(answer + at, weights.norm.data(), config_.norm_epsilon, shape_.value_dim, answer + at);
    ops_.silu_mul(gate, answer, values);
  });
  const Product output{&weights.output, y, config_.hidden};
  multiply({{&output, 1}, {s_.gate.data(), tokens, values}, arithmetic_, &next, rows.kind}, products_, threads_);
}

}  // namespace qjl::engine
