// A layer that keeps a state in place of keys and values, over a block of rows: a gated delta net.
//
//   m = mixed x, the last `kernel` rows of it convolved channel by channel -> q, k, v of every head; q and k made unit vectors
//   decay = exp(slope softplus(decay x + bias)),  rate = sigmoid(rate x)                        of every value head
//   o = the answers of its matrix (engine/math/delta.hpp), q scaled by 1 / sqrt(key_dim)
//   y = output (rmsnorm(o) silu(gate x))
//
// The state of a sequence is the last kernel - 1 rows of m, [kernel - 1, mixed_width], then the matrices,
// [value_heads, key_dim, value_dim]. Tokens go one by one, heads and sequences are shared out: what a row gives does not depend on
// how its text was cut, nor on other sequences.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "delta.hpp"
#include "model_config.hpp"
#include "model_weights.hpp"
#include "ops.hpp"
#include "qjl/threads.hpp"
#include "weights.hpp"

namespace qjl::engine {

// Rows of one sequence in a block, and the layer's state of it, which they take further.
struct DeltaPart {
  float* state;
  std::int64_t begin, count;
};

// Rows of one kind, [tokens, hidden].
struct DeltaRows {
  const float* x;
  std::int64_t tokens;
  RowKind kind;
};

// Grown on first use: [block, ...].
struct DeltaScratch {
  std::vector<float> mixed, convolved, gate, answers, decay, rate;
  std::vector<float> query_units, key_units;  // [key_dim]: what makes a norm of the mean square one of length 1

  std::int64_t bytes() const;
};

class DeltaNet {
 public:
  DeltaNet(const ModelConfig& config, Arithmetic arithmetic, DeltaScratch& scratch, ProductScratch& products, ThreadPool& threads);

  // y [tokens, hidden] of the rows; `next` is multiplied with after that.
  void run(const DeltaWeights& weights, std::span<const DeltaPart> parts, const DeltaRows& rows, const Weight& next, float* y);

 private:
  void project(const DeltaWeights& weights, const DeltaRows& rows);
  void convolve(const DeltaWeights& weights, const DeltaPart& part);
  void keep_rows(const DeltaPart& part) const;
  void step(const DeltaPart& part, int value_head) const;

  const ModelConfig& config_;
  const DeltaShape& shape_;
  Arithmetic arithmetic_;
  DeltaScratch& s_;
  ProductScratch& products_;
  ThreadPool& threads_;
  const RowOps& ops_;
  const DeltaOps& delta_;
};

}  // namespace qjl::engine
