// CudaCache: KvCache in the memory of a GPU. The same pages, byte for byte, sealed by the GPU; attention over them there.
//
//   append, plan and run put work on the caller's stream and return; tensors must live until the stream is past it
//   offload, upload      a sequence from the GPU into a KvCache and back: pages as they are, sinks and the open page exactly
//
// Keys, values, queries and outputs are device memory (Device::cuda in their views). Nothing is allocated by append or run. Calls
// on one cache go to one stream, or to streams that the caller orders; the object itself is used by one thread at a time. Numbers
// are not looked at when they arrive, that would take a wait: wait() tells of a NaN or infinity that append met. No fork and no
// truncate: offload, change there, upload.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"

namespace qjl {

using CudaStream = void*;  // cudaStream_t; null: the device's default stream

class CudaCache {
 public:
  // Takes device memory for max_pages and for working space. Errors: unsupported when there is no such device, or no room on it;
  // invalid_argument as KvCache; on_seal belongs to the CPU's cache alone.
  explicit CudaCache(CacheConfig config, int device = 0);
  ~CudaCache();
  CudaCache(const CudaCache&) = delete;
  CudaCache& operator=(const CudaCache&) = delete;

  const CacheConfig& config() const;
  int device() const;

  // A new empty sequence: takes device memory for its open page unless a dropped one left some.
  SequenceId create();
  void drop(SequenceId sequence);

  // Adds tokens to one layer. keys, values [num_kv_heads, tokens, head_dim]; any dtype, rounded once to tail_dtype, whole pages
  // coded. Errors: invalid_argument on shapes or memory of the host or another device, out_of_pages; each leaves everything as it
  // was.
  void append(SequenceId sequence, int layer, const TensorView& keys, const TensorView& values, CudaStream stream);

  std::int64_t num_tokens(SequenceId sequence, int layer) const;
  std::int64_t free_pages() const;
  std::int64_t device_bytes() const;  // all that this cache holds on the device

  // Waits for the stream. Errors: invalid_argument when an append since the last wait met a number that tail_dtype cannot hold.
  void wait(CudaStream stream);

  // A sequence of `from` as a new one here, and one of here as a new one of `to`; the other cache must be of the same config but
  // for max_pages. Both wait for the stream. Errors: invalid_argument, out_of_pages.
  SequenceId upload(const KvCache& from, SequenceId sequence, CudaStream stream);
  SequenceId offload(SequenceId sequence, KvCache& to, CudaStream stream) const;

  // The same without the wait: what is read must stay as it is, and what is written may be used, once the stream is past it. Pages
  // under PinnedPages are copied while the host goes on; rows of sinks and open pages, and pages elsewhere, before the call
  // returns.
  SequenceId start_upload(const KvCache& from, SequenceId sequence, CudaStream stream);
  SequenceId start_offload(SequenceId sequence, KvCache& to, CudaStream stream) const;

  struct State;  // the inside, for src/core only
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Pins the pages of a host's cache while it lives, which must be shorter than the cache does: all of max_pages become resident, and
// copies between them and devices run at the link's speed. Errors: unsupported without a device or when the driver refuses.
class PinnedPages {
 public:
  explicit PinnedPages(const KvCache& cache);
  ~PinnedPages();
  PinnedPages(const PinnedPages&) = delete;
  PinnedPages& operator=(const PinnedPages&) = delete;

 private:
  const KvCache& cache_;
};

// One attend over a CudaCache, as attend() of attention.hpp says, in two steps: the plan is made on the host and copied; the run is
// kernels alone, so a CUDA graph may hold it and be launched again while the plan stands. Grows on first use, is reused after.
class CudaAttend {
 public:
  CudaAttend();
  ~CudaAttend();
  CudaAttend(CudaAttend&&) noexcept;
  CudaAttend& operator=(CudaAttend&&) noexcept;

  // Errors: invalid_argument on shapes, memory of the host or another device, an unknown sequence or layer. Waits when it must
  // grow.
  void plan(const CudaCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            CudaStream stream);
  // Errors: invalid_argument without a plan.
  void run(CudaStream stream);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace qjl
