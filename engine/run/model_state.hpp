// What a Model holds: the file, the weights of every layer as views into it, and the memory that forward() reuses.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model.hpp"
#include "model_weights.hpp"
#include "packed_weight.hpp"
#include "weights.hpp"

namespace qjl::engine {

// Repacks every matrix that fast arithmetic takes, and lets the weights know.
struct LoadedModel;
void pack_weights(LoadedModel& model, ThreadPool& threads);

// Memory of forward(), grown on first use. Rows are the tokens of all items, in item order; a block is at most kBlockTokens of
// them.
struct ForwardScratch {
  std::vector<std::int64_t> first_row, first_position;  // of each item
  std::vector<AttendRequest> requests;
  std::vector<float> hidden, query, key, value, attended, angles;  // [rows, ...]
  std::vector<float> normed, projected, gate, up;                  // [block, ...]
  std::vector<float> logits_input, logits;
  ProductScratch products;
  AttendWorkspace attend;
  std::int64_t peak_bytes = 0;

  std::int64_t bytes() const;
  // Gives back what a long prompt took; a decode step's memory stays.
  void release();
};

struct LoadedModel {
  std::unique_ptr<ModelFile> file;
  ModelConfig config;
  ModelWeights weights;
  std::vector<double> rope_frequencies;
  std::int64_t weight_bytes = 0;
  bool is_packed = false;  // pack_weights() has run
  PackedMemory packed_memory = {};
  std::vector<std::unique_ptr<PackedWeight>> packed = {};  // the matrices that fast arithmetic takes
  ForwardScratch scratch;
};

struct Model::State : LoadedModel {};

}  // namespace qjl::engine
