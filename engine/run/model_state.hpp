// What a Model holds: the file, the weights of every layer as views into it, and the memory that forward() reuses.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "delta_net.hpp"
#include "feed_forward.hpp"
#include "layer_rows.hpp"
#include "model.hpp"
#include "model_weights.hpp"
#include "packed_weight.hpp"
#include "rope.hpp"
#include "weights.hpp"

namespace qjl::engine {

// Repacks every matrix that fast arithmetic takes, and lets the weights know.
struct LoadedModel;
void pack_weights(LoadedModel& model, ThreadPool& threads);

inline constexpr std::int64_t kBlockTokens = 256;

// Rows of one kind that go through the layers' products together.
struct RowStretch {
  std::int64_t begin, end;
  RowKind kind;
};

// Rows of one kind that get logits, of one item.
struct LogitRows {
  std::size_t item;
  std::int64_t first, count;  // tokens of the item
  RowKind kind;
  bool is_returned;  // else on_logits takes them
};

// Memory of forward(), grown on first use. Rows are the tokens of all items, in item order; a block is at most kBlockTokens of
// them.
struct ForwardScratch {
  std::vector<std::int64_t> first_row, first_position;  // of each item
  std::vector<RowStretch> blocks;
  std::vector<LogitRows> logit_rows;
  std::vector<AttendRequest> requests;
  std::vector<float> hidden, query, key, value, attended, angles, lse, query_scale, gates;  // [rows, ...]
  std::vector<float> normed, gated_query, projected;                                        // [block, ...]
  std::vector<std::vector<float>> states;  // of each item: its sequence's when the pass is over, the one before after that
  std::vector<DeltaPart> parts;
  DeltaScratch delta;
  FeedForwardScratch feed_forward;
  std::vector<float> logits_input, logits, taken_logits;
  ProductScratch products;
  AttendPlan attend;
  RowsOnDevice on_device;  // of a cache on a GPU
  std::int64_t peak_bytes = 0;

  std::int64_t bytes() const;
  // Gives back what a long prompt took; a decode step's memory stays.
  void release();
};

// The RoPEs of the layers, equal ones once. Angles of a position: a stretch for each, cosines then sines.
class ModelRopes {
 public:
  struct Rope {
    RopeConfig config;
    std::vector<double> frequencies;
    std::int64_t first_angle = 0;
  };

  explicit ModelRopes(std::span<const LayerShape> layers);
  std::span<const Rope> distinct() const { return distinct_; }
  const Rope& of_layer(int layer) const { return distinct_[of_layer_[static_cast<std::size_t>(layer)]]; }
  std::int64_t num_angles() const { return num_angles_; }

 private:
  std::vector<Rope> distinct_;
  std::vector<std::size_t> of_layer_;  // [num_layers] of distinct_
  std::int64_t num_angles_ = 0;
};

struct LoadedModel {
  std::unique_ptr<ModelFile> file;
  ModelConfig config;
  ModelWeights weights;
  ModelRopes ropes;
  std::int64_t weight_bytes = 0, resident_weight_bytes = 0, packed_weight_bytes = 0;
  bool is_packed = false;  // pack_weights() has run
  PackedMemory packed_memory = {};
  std::vector<std::unique_ptr<PackedWeight>> packed = {};  // the matrices that fast arithmetic takes
  ForwardScratch scratch;
};

struct Model::State : LoadedModel {};

}  // namespace qjl::engine
