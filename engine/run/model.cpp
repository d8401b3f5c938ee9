// Model: loading and its plain questions. forward.cpp runs it.
#include "model.hpp"

#include <algorithm>

#include "model_state.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "rope.hpp"

namespace qjl::engine {
namespace {

KeyRope key_rope(const ModelRopes::Rope& rope) {
  return {rope.frequencies, rope.config.interleaved ? KeyRope::Pairs::interleaved : KeyRope::Pairs::halves};
}

}  // namespace

ModelRopes::ModelRopes(std::span<const LayerShape> layers) {
  for (const LayerShape& layer : layers) {
    const auto same = std::ranges::find(distinct_, layer.rope, &Rope::config);
    of_layer_.push_back(static_cast<std::size_t>(same - distinct_.begin()));
    if (same != distinct_.end()) continue;
    distinct_.push_back({layer.rope, rope_frequencies(layer.rope), num_angles_});
    num_angles_ += 2 * std::ssize(distinct_.back().frequencies);
  }
}

Model::Model() = default;
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model Model::load(std::unique_ptr<ModelFile> file, const RopeOptions& rope) {
  ModelConfig config = read_model_config(*file, rope);
  ModelWeights weights = load_weights(*file, config);
  std::int64_t weight_bytes = 0;
  for (const FileTensor& tensor : file->tensors()) weight_bytes += std::ssize(tensor.data);
  ModelRopes ropes(config.layers);
  Model model;
  model.state_ = std::make_unique<State>(State{{std::move(file),
                                                std::move(config),
                                                std::move(weights),
                                                std::move(ropes),
                                                weight_bytes,
                                                weight_bytes,
                                                0,
                                                false,
                                                {},
                                                {},
                                                {}}});
  return model;
}

const ModelConfig& Model::config() const { return state_->config; }
const ModelFile& Model::file() const { return *state_->file; }
std::int64_t Model::weight_bytes() const { return state_->weight_bytes; }
std::int64_t Model::resident_weight_bytes() const { return state_->resident_weight_bytes; }
std::int64_t Model::packed_weight_bytes() const { return state_->packed_weight_bytes; }
std::int64_t Model::weight_bytes_read() const { return state_->scratch.products.weight_bytes; }
std::int64_t Model::peak_scratch_bytes() const { return state_->scratch.peak_bytes; }

void Model::prepare(Arithmetic arithmetic, ThreadPool& threads) {
  if (arithmetic == Arithmetic::fast && !state_->is_packed) pack_weights(*state_, threads);
}

CacheConfig Model::cache_config(const CodecConfig& codec, std::int64_t context_tokens, int num_sequences) const {
  const ModelConfig& model = state_->config;
  if (context_tokens < 1 || context_tokens > kMostContext) {
    throw Error(ErrorKind::invalid_argument, "[cache_config] context of " + std::to_string(context_tokens) +
                                                 " tokens, wanted 1 to " + std::to_string(kMostContext));
  }
  if (num_sequences < 1) {
    throw Error(ErrorKind::invalid_argument, "[cache_config] " + std::to_string(num_sequences) + " sequences, wanted at least 1");
  }
  CacheConfig config;
  config.num_layers = model.num_cached_layers();
  config.recurrent_numbers = model.recurrent_numbers();
  config.num_kv_heads = model.num_kv_heads;
  config.head_dim = model.head_dim;
  config.max_pages = (context_tokens + kTokensPerPage - 1) / kTokensPerPage * num_sequences;
  config.codec = codec;
  const ModelRopes& ropes = state_->ropes;
  config.codec.rope = key_rope(ropes.distinct().front());
  const bool has_windows = std::ranges::any_of(model.layers, [](const LayerShape& layer) { return layer.window != 0; });
  for (int l = 0; l < model.num_layers; ++l) {
    const LayerShape& layer = model.layers[static_cast<std::size_t>(l)];
    if (layer.keeps_state) continue;
    if (ropes.distinct().size() > 1) config.layer_ropes.push_back(key_rope(ropes.of_layer(l)));
    if (has_windows) config.layer_windows.push_back(layer.window);
  }
  return config;
}

}  // namespace qjl::engine
