// A cache as Python holds it: a KvCache of the host, its threads, and the working memory of attends.
//
// Every call gives up the interpreter's lock and then takes this cache's own: attends and reads share it, changes have it alone. So
// threads of Python may use one cache at once; those that attend together need threads of the pool, and wait for each other there.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/threads.hpp"
#include "tensors.hpp"

namespace qjl::python {

// What one attend works in.
struct AttendScratch {
  AttendPlan plan;
  std::vector<AttendRequest> requests;

  std::int64_t bytes() const {
    return plan.bytes() + static_cast<std::int64_t>(sizeof(AttendScratch) + requests.capacity() * sizeof(AttendRequest));
  }
};

class Cache {
 public:
  // num_threads: 0 for all processors that this process may use; 1 needs no pool.
  Cache(CacheConfig config, int num_threads);
  Cache(LoadedCache loaded, int num_threads);

  const CacheConfig& config() const { return cache_->config(); }
  int num_threads() const { return pool_ ? pool_->num_threads() : 1; }

  // work(KvCache&) with the cache for itself; work(const KvCache&) beside others. Threads: for the queue of their calls.
  template <typename Work>
  auto change(const Work& work) {
    const nb::gil_scoped_release without_interpreter;
    const std::unique_lock alone(door_);
    return work(*cache_);
  }
  template <typename Work>
  auto look(const Work& work) const {
    const nb::gil_scoped_release without_interpreter;
    const std::shared_lock beside_others(door_);
    return work(std::as_const(*cache_));
  }
  template <typename Work>
  auto look_with_threads(const Work& work) const {
    return look([&](const KvCache& cache) {
      const std::unique_lock pool = pool_ ? std::unique_lock(pool_door_) : std::unique_lock<std::mutex>();
      return work(cache);
    });
  }
  Queue queue() const { return pool_ ? Queue(*pool_) : Queue(); }

  // Sequences that live, in the order in which they came.
  std::int64_t create();
  std::int64_t fork(std::int64_t sequence);
  void drop(std::int64_t sequence);
  std::vector<std::int64_t> sequences() const;

  // A row of the batch to each sequence. Errors: those of KvCache::append; nothing has changed then.
  void append(const std::vector<std::int64_t>& sequences, int layer, const Tensor& keys, const Tensor& values);

  // Every byte: the cache's, and the working memory of attends that nobody uses at the moment.
  MemoryReport memory_report() const;

  // One that nobody uses; give it back for the next call.
  std::unique_ptr<AttendScratch> borrow() const;
  void give_back(std::unique_ptr<AttendScratch> scratch) const;

 private:
  std::unique_ptr<KvCache> cache_;
  std::vector<std::int64_t> live_;
  std::unique_ptr<ThreadPool> pool_;
  mutable std::shared_mutex door_;
  mutable std::mutex pool_door_, scratch_door_;
  mutable std::vector<std::unique_ptr<AttendScratch>> scratch_;
};

inline SequenceId id(std::int64_t sequence) { return SequenceId{sequence}; }

// From here on a chunk in bf16 is worth packing for bf16 products.
inline constexpr std::int64_t kPackedTokens = 32;

// How Python asks for an attend. Errors: invalid_argument on a scale of 0, a window below 1.
struct AttendChoices {
  std::optional<float> scale;
  float soft_cap = 0.0f;
  std::optional<std::int64_t> window;
};
AttendOptions attend_options(const AttendChoices& choices);

// Each adds its part of the module.
void bind_cache(nb::module_& module);
void bind_attention(nb::class_<Cache>& cache, nb::module_& module);
void bind_codec(nb::module_& module);
void bind_paged(nb::module_& module);
void bind_cache_file(nb::class_<Cache>& cache, nb::module_& module);

}  // namespace qjl::python
