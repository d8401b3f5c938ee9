// The feed-forward part of a layer over a block of rows: one gated matrix pair, or a mixture of experts.
//
//   dense      y = down(activation(gate x + b) * (up x + b)) + b
//   experts    y = sum over the chosen e of w[e] dense_e(x) + sigmoid(<g, x>) dense_shared(x);  1 instead of the sigmoid without g
//   chosen     the `used` experts with the largest logits r[e] = router x + b;  w: a softmax of r over the chosen, or over all
//
// Only the weights of chosen experts are read: a step of one token reads `used` of them and the shared one.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "model_config.hpp"
#include "model_weights.hpp"
#include "ops.hpp"
#include "qjl/threads.hpp"
#include "weights.hpp"

namespace qjl::engine {

// Grown on first use.
struct FeedForwardScratch {
  std::vector<float> gate, up;                                     // [block, width]
  std::vector<float> router, inputs, outputs;                      // [block, experts]; rows of one expert [block, hidden]
  std::vector<std::int64_t> order;                                 // [experts]
  std::vector<std::vector<std::pair<std::int64_t, float>>> users;  // of each expert: a row and its weight

  std::int64_t bytes() const;
};

class FeedForward {
 public:
  FeedForward(const ModelConfig& config, Arithmetic arithmetic, FeedForwardScratch& scratch, ProductScratch& products,
              ThreadPool& threads);

  // y [tokens, hidden] of x [tokens, hidden], rows of one kind; `next` is multiplied with after that.
  void run(const LayerWeights& layer, const float* x, std::int64_t tokens, RowKind kind, const Weight& next, float* y);

 private:
  void run_dense(const FeedForwardWeights& weights, const float* x, std::int64_t tokens, const Weight* next, float* y);
  void route(const ExpertWeights& experts, const float* x, std::int64_t tokens);
  void run_routed(const ExpertWeights& experts, const float* x, float* y);
  void add_shared(const ExpertWeights& experts, const float* x, std::int64_t tokens, const Weight& next, float* y);

  const ModelConfig& config_;
  Arithmetic arithmetic_;
  RowKind kind_ = RowKind::by_count;  // of the rows of this run
  FeedForwardScratch& s_;
  ProductScratch& products_;
  ThreadPool& threads_;
  const RowOps& ops_;
  void (*activate_)(float* gate, const float* up, std::int64_t n);
};

}  // namespace qjl::engine
