// pack_weights: the copy of a model's matrices that fast arithmetic reads.
#include <algorithm>
#include <memory>
#include <vector>

#include "model_state.hpp"

namespace qjl::engine {

// All in one stretch of memory, in the order in which a step reads them. The file's pages are given back one matrix at a time, so
// that memory never holds two copies of the model.
void pack_weights(LoadedModel& model, ThreadPool& threads) {
  model.is_packed = true;
  std::vector<Weight*> weights;
  for (LayerWeights& l : model.weights.layers) {
    for (Weight* weight : {&l.query, &l.key, &l.value, &l.output, &l.delta.mixed, &l.delta.gate, &l.delta.output})
      weights.push_back(weight);
    const auto add = [&](FeedForwardWeights& part) {
      for (Weight* weight : {&part.gate, &part.up, &part.down}) weights.push_back(weight);
    };
    add(l.dense);
    for (FeedForwardWeights& expert : l.experts.routed) add(expert);
    add(l.experts.shared);
  }
  weights.push_back(&model.weights.output);
  std::erase_if(weights, [](const Weight* weight) { return weight->data == nullptr || !PackedWeight::can_pack(*weight); });
  std::int64_t bytes = 0;
  for (const Weight* weight : weights) bytes += PackedWeight::packed_bytes(*weight);
  if (bytes == 0) return;
  model.packed_memory = PackedMemory(bytes);
  model.packed_weight_bytes = bytes;
  model.resident_weight_bytes += bytes;
  std::byte* next = model.packed_memory.data();
  for (Weight* weight : weights) {
    model.packed.push_back(std::make_unique<PackedWeight>(*weight, next, threads));
    weight->packed = model.packed.back().get();
    next += PackedWeight::packed_bytes(*weight);
    const std::int64_t file_bytes = weight->rows * weight->row_bytes();
    model.file->forget({weight->data, static_cast<std::size_t>(file_bytes)});
    if (weight->data != model.weights.embedding.data) model.resident_weight_bytes -= file_bytes;
  }
}

}  // namespace qjl::engine
