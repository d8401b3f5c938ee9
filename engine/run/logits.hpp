// The end of a forward pass: logits of the rows that items ask for.
//
//   logits = cap?(scale output rmsnorm(h)),  a block of rows at a time
#pragma once

#include <span>

#include "model_state.hpp"
#include "ops.hpp"

namespace qjl::engine {

class LogitPass {
 public:
  // Of a model whose scratch memory holds the hidden rows of the items after the last layer.
  LogitPass(LoadedModel& model, std::span<const ForwardItem> items, const ForwardOptions& options, ThreadPool& threads);
  // What Model::forward returns; what options.on_logits takes goes there.
  std::span<const float> run();

 private:
  void find_rows();
  void logits_of(std::span<const LogitRows> list, RowKind kind, float* out);
  std::int64_t tokens(std::size_t i) const { return std::ssize(items_[i].tokens); }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  ForwardScratch& s_;
  const RowOps& ops_;
  std::span<const ForwardItem> items_;
  const ForwardOptions& options_;
  ThreadPool& threads_;
};

}  // namespace qjl::engine
