// A cache on trial: a cache type of ours, or another method's numbers in an exact cache (rivals/rival.hpp). It holds one sequence,
// which can be forked, and knows what it costs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model.hpp"

namespace qjl::engine {

class Rival;

enum class CacheSide : std::uint8_t { keys, values };

// Bits a number of one side of a sealed page: what a page with that side in 16 bits has more, taken from 16.
double side_bits(int head_dim, const CodecConfig& codec, CacheSide side);

// A recurrent state is what exact layers before it make of a text, whatever cache it goes on with: `onto` has the same tokens.
void copy_state(const KvCache& from, SequenceId sequence, KvCache& to, SequenceId onto);

class TrialCache {
 public:
  // `shape`: of Model::cache_config(); the codec, but for its RoPE, is that of `cache_type`. Errors: invalid_argument on an unknown
  // type.
  TrialCache(const std::string& cache_type, const ModelConfig& model, CacheConfig shape);
  // A cache that no cache type names, made by the caller: codes of single layers, for example.
  TrialCache(std::string name, CacheConfig config);
  ~TrialCache();
  TrialCache(TrialCache&&) noexcept;
  TrialCache& operator=(TrialCache&&) noexcept;

  const std::string& name() const { return name_; }
  KvCache& cache() { return *cache_; }
  const KvCache& cache() const { return *cache_; }
  SequenceId sequence() const { return sequence_; }

  // One layer of the prompt, whole: a rival may learn from it before its pages are coded.
  void append_prompt(int layer, const TensorView& keys, const TensorView& values, ThreadPool& threads);
  // What layers without keys keep of the prompt, from the sequence of an exact cache that has read it.
  void copy_state(const KvCache& from, SequenceId sequence) { qjl::engine::copy_state(from, sequence, *cache_, sequence_); }
  // Whether there must be a prompt.
  bool learns() const;

  // Bits per number and megabytes (1e6 bytes) now, and bits of a sealed page alone. A rival's: sealed pages as its authors store
  // them, the open page in 16 bits.
  bool simulated() const { return rival_ != nullptr; }
  double bits() const;
  double bits_sealed() const;
  double megabytes() const;
  double side_bits(CacheSide side) const;  // of a sealed page, the mean over layers

 private:
  std::string name_;
  std::unique_ptr<Rival> rival_;  // null for a cache of ours; its address is the cache's too
  std::unique_ptr<KvCache> cache_;
  SequenceId sequence_{};
};

}  // namespace qjl::engine
