// What a Model holds: the file, the weights of every layer as views into it, and the memory that forward() reuses.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "gguf.hpp"
#include "model.hpp"
#include "packed_weight.hpp"
#include "prompt_attention.hpp"
#include "weights.hpp"

namespace qjl::engine {

struct LayerWeights {
  Weight query, key, value, output;                      // [heads * head_dim, hidden], ..., [hidden, heads * head_dim]
  Weight gate, up, down;                                 // [feed_forward, hidden] twice, [hidden, feed_forward]
  std::vector<float> attention_norm, feed_forward_norm;  // [hidden]
  std::vector<float> query_bias, key_bias, value_bias;   // [heads * head_dim] or empty
  std::vector<float> query_norm, key_norm;               // [head_dim] or empty
};

struct ModelWeights {
  Weight embedding, output;  // [vocab_size, hidden]; the same when tied
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;
};

// Takes every tensor's view and checks its shape. Errors: bad_file (missing, wrong shape or size), unsupported (a tensor that the
// architecture does not have: leaving it out would change the result).
ModelWeights load_weights(const GgufFile& file, const ModelConfig& config);

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
  PromptScratch prompt;
  std::int64_t peak_bytes = 0;

  std::int64_t bytes() const;
  // Gives back what a long prompt took; a decode step's memory stays.
  void release();
};

struct LoadedModel {
  GgufFile file;
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
