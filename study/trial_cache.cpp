// Ours or a rival's: a rival codes each page as it is sealed and leaves its own numbers in an exact cache.
#include "trial_cache.hpp"

#include <algorithm>
#include <utility>

#include "cache_type.hpp"
#include "plan_search.hpp"
#include "qjl/codec.hpp"
#include "rival.hpp"

namespace qjl::engine {

double side_bits(int head_dim, const CodecConfig& codec, CacheSide side) {
  CodecConfig exact = codec;
  (side == CacheSide::keys ? exact.key_code : exact.value_code) = Code::f16;
  const std::int64_t saved = PageCodec(head_dim, exact).page_bytes() - PageCodec(head_dim, codec).page_bytes();
  return 16.0 - static_cast<double>(saved) * 8 / (static_cast<double>(kTokensPerPage) * head_dim);
}

void copy_state(const KvCache& from, SequenceId sequence, KvCache& to, SequenceId onto) {
  const std::span<const float> state = from.recurrent_state(sequence);
  std::vector<float> numbers(static_cast<std::size_t>(from.config().recurrent_numbers));
  std::ranges::copy(state, numbers.begin());
  to.set_recurrent_state(onto, numbers);
}

TrialCache::TrialCache(const std::string& cache_type, const ModelConfig& model, CacheConfig shape) : name_(cache_type) {
  if (is_rival(cache_type)) {
    rival_ = std::make_unique<Rival>(cache_type, model);
    shape.on_seal = [rival = rival_.get()](const SealingPage& page) { rival->code(page); };
  }
  read_cache_type(rival_ ? "f16" : cache_type).apply(shape);
  cache_ = std::make_unique<KvCache>(std::move(shape));
  sequence_ = cache_->create();
}

TrialCache::TrialCache(std::string name, CacheConfig config)
    : name_(std::move(name)), cache_(std::make_unique<KvCache>(std::move(config))), sequence_(cache_->create()) {}

TrialCache::~TrialCache() = default;
TrialCache::TrialCache(TrialCache&&) noexcept = default;
TrialCache& TrialCache::operator=(TrialCache&&) noexcept = default;

void TrialCache::append_prompt(int layer, const TensorView& keys, const TensorView& values, ThreadPool& threads) {
  if (rival_) rival_->learn(layer, keys, values);
  cache_->append(sequence_, layer, keys, values, threads);
}

bool TrialCache::learns() const { return rival_ && rival_->learns(); }

double TrialCache::bits_sealed() const { return rival_ ? rival_->bits_sealed() : cache_->bits_sealed(); }

double TrialCache::bits() const {
  const std::int64_t tokens = cache_->num_tokens(sequence_), open = tokens % kTokensPerPage;
  if (!rival_ || tokens == 0) return cache_->bits();
  return (bits_sealed() * static_cast<double>(tokens - open) + 16.0 * static_cast<double>(open)) / static_cast<double>(tokens);
}

double TrialCache::megabytes() const {
  if (!rival_) return static_cast<double>(cache_->memory_report().total()) * 1e-6;
  const CacheConfig& c = cache_->config();
  const std::int64_t numbers = 2 * cache_->num_tokens(sequence_) * c.num_layers * c.num_kv_heads * c.head_dim;
  return bits() / 8 * 1e-6 * static_cast<double>(numbers);
}

double TrialCache::side_bits(CacheSide side) const {
  if (rival_) return side == CacheSide::keys ? rival_->key_bits() : rival_->value_bits();
  const CacheConfig& config = cache_->config();
  double sum = 0;
  for (int layer = 0; layer < config.num_layers; ++layer)
    sum += engine::side_bits(config.head_dim, layer_codec(config, layer), side);
  return sum / config.num_layers;
}

}  // namespace qjl::engine
