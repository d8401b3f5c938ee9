// One call of Model::forward, layer by layer. forward.cpp has the formulas.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "delta_net.hpp"
#include "feed_forward.hpp"
#include "model_state.hpp"
#include "ops.hpp"

namespace qjl::engine {

class ForwardPass {
 public:
  ForwardPass(LoadedModel& model, KvCache& cache, std::span<const ForwardItem> items, const ForwardOptions& options,
              ThreadPool& threads);

  // Checks everything that can be known before the first layer; takes the pages of all items.
  void prepare();
  void run();
  // The sequences' states are those after the pass.
  void keep_states();
  // Back to the lengths before the call, after an error in the middle of the layers.
  void undo() noexcept;

 private:
  void check_item(std::size_t i) const;
  void embed();
  void make_blocks();
  void project_block(int layer_idx, const RowStretch& block);
  void take_gate(const float* both, std::int64_t row) const;
  void mix_block(const LayerWeights& layer, std::int64_t state_at, const RowStretch& block);
  void finish_row(int layer_idx, std::int64_t row) const;
  void join_row(std::int64_t row, float* branch, const std::vector<float>& bias, const std::vector<float>& norm) const;
  void normalise(std::int64_t row, const std::vector<float>& norm, float* out) const;
  void finish_attended(const LayerWeights& layer, std::size_t item, std::int64_t token) const;
  AttendOptions attend_options(int layer_idx) const;
  AttendRequest layer_request(std::size_t item, const LayerRows& rows) const;
  void attend_and_append(int layer_idx, int cached_idx);
  void observe(int cached_idx, const LayerRows& rows) const;
  void finish_block(const LayerWeights& layer, const RowStretch& block);
  void finish_branch(const LayerWeights& layer, const RowStretch& block);
  void multiply(std::span<const Product> products, const Activations& x, const Weight& next, RowKind kind) {
    engine::multiply({products, x, options_.arithmetic, &next, kind}, s_.products, threads_);
  }
  // What is multiplied first after a layer.
  const Weight& after(const LayerWeights& layer) const {
    return &layer == &weights_.layers.back() ? weights_.output : (&layer + 1)->first();
  }
  // The feed-forward part's first.
  static const Weight& after_branch(const LayerWeights& layer) {
    return layer.has_experts() ? layer.experts.router : layer.dense.gate;
  }
  const LayerWeights& layer_weights(int layer_idx) const { return weights_.layers[static_cast<std::size_t>(layer_idx)]; }
  std::int64_t tokens(std::size_t i) const { return std::ssize(items_[i].tokens); }
  float* hidden_row(std::int64_t row) const { return s_.hidden.data() + row * config_.hidden; }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  ForwardScratch& s_;
  const ModelRopes& ropes_;
  const RowOps& ops_;
  FeedForward feed_forward_;
  DeltaNet delta_net_;
  KvCache& cache_;
  std::span<const ForwardItem> items_;
  const ForwardOptions& options_;
  ThreadPool& threads_;
  bool reorders_;                         // the cache has its keys' channels in the order of the other kind of pairs
  std::int64_t query_width_, key_width_;  // of rows as the cache has them
  std::int64_t gate_width_;               // of the gates of a row, 0: none
  bool is_padded_;                        // heads of the model are narrower: zeros follow their numbers
  std::int64_t rows_ = 0;
  bool prompts_only_ = false;  // no item has cached tokens
  bool has_kinds_ = false;     // some item's rows are not by_count
};

}  // namespace qjl::engine
