// Model: loading and its plain questions. forward.cpp runs it.
#include "model.hpp"

#include "model_state.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "rope.hpp"

namespace qjl::engine {

Model::Model() = default;
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model Model::load(std::unique_ptr<ModelFile> file) {
  ModelConfig config = read_model_config(*file);
  ModelWeights weights = load_weights(*file, config);
  std::int64_t weight_bytes = 0;
  for (const FileTensor& tensor : file->tensors()) weight_bytes += std::ssize(tensor.data);
  std::vector<double> frequencies = rope_frequencies(config.rope);
  Model model;
  model.state_ = std::make_unique<State>(
      State{{std::move(file), std::move(config), std::move(weights), std::move(frequencies), weight_bytes, false, {}, {}, {}}});
  return model;
}

const ModelConfig& Model::config() const { return state_->config; }
const ModelFile& Model::file() const { return *state_->file; }
std::int64_t Model::weight_bytes() const { return state_->weight_bytes; }
std::int64_t Model::peak_scratch_bytes() const { return state_->scratch.peak_bytes; }

void Model::prepare(Arithmetic arithmetic, ThreadPool& threads) {
  if (arithmetic == Arithmetic::fast && !state_->is_packed) pack_weights(*state_, threads);
}

CacheConfig Model::cache_config(const CodecConfig& codec, std::int64_t context_tokens, int num_sequences) const {
  const ModelConfig& model = state_->config;
  if (context_tokens < 1 || context_tokens > model.context_length) {
    throw Error(ErrorKind::invalid_argument, "[cache_config] context of " + std::to_string(context_tokens) +
                                                 " tokens, wanted 1 to " + std::to_string(model.context_length));
  }
  if (num_sequences < 1) {
    throw Error(ErrorKind::invalid_argument, "[cache_config] " + std::to_string(num_sequences) + " sequences, wanted at least 1");
  }
  CacheConfig config;
  config.num_layers = model.num_layers;
  config.num_kv_heads = model.num_kv_heads;
  config.head_dim = model.head_dim;
  config.max_pages = (context_tokens + kTokensPerPage - 1) / kTokensPerPage * num_sequences;
  config.codec = codec;
  config.layer_windows = model.layer_windows;
  config.codec.rope = {state_->rope_frequencies, model.rope.interleaved ? KeyRope::Pairs::interleaved : KeyRope::Pairs::halves};
  return config;
}

}  // namespace qjl::engine
