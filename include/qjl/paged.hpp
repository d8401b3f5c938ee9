// PagedCache: the verbs of a KvCache over pages and tails in the caller's memory, as engines keep it that place blocks themselves.
//
//   request = block ids (one for each 128 tokens), a number of tokens, a tail id
//   block   = for each kv head [ body | page head | sinks ], the sinks in a request's first block alone
//   tail    = exact rows of the open page: [keys and values, num_kv_heads, 128, head_dim], 16 bit
//
// It holds the layers' constants and nothing of a request: lengths, blocks and tails are the caller's. A block is written once, when
// its page is full; it then holds all that its tokens need (a request's first block the sinks too), so that any other request may
// start with it, in this memory or in a copy. The bytes are those of a KvCache of the same config, the same for every kv head:
// a worker that has some of the heads writes what one that has all would. The kernels are the same too, and so are the numbers.
//
// On a GPU pages and tails are its memory, calls put their work on the stream and return; see cache.hpp for what that means.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "qjl/attention.hpp"
#include "qjl/config.hpp"
#include "qjl/device.hpp"
#include "qjl/tensor.hpp"

namespace qjl {

// The blocks of one layer: the part of kv head h in block b is [base + b * block_stride + h * head_stride, + page_bytes).
// Addresses and strides are multiples of 64 bytes.
struct PageMemory {
  void* base = nullptr;
  std::int64_t num_blocks = 0;
  std::int64_t block_stride = 0, head_stride = 0;  // bytes
  std::int64_t page_bytes = 0;                     // PagedCache::part_bytes() or more
  Device device;
};

// The tails of one layer: tail t begins at base + t * tail_stride and has PagedCache::tail_bytes().
// Addresses and strides are multiples of 16 bytes.
struct TailMemory {
  void* base = nullptr;
  std::int64_t num_tails = 0;
  std::int64_t tail_stride = 0;  // bytes
  Device device;
};

// Where a call works.
struct PagedMemory {
  int layer = 0;
  PageMemory pages;
  TailMemory tails;
};

inline constexpr std::int64_t kNoTail = -1;

// What a call is about. Block i has the tokens 128 i ... of the request; blocks beyond its full pages are not looked at, so that the
// table of an engine may stand here as it is. A request whose last page is full, before and after the call, needs no tail.
struct PagedRequest {
  std::span<const std::int32_t> block_ids;
  std::int64_t num_tokens = 0;  // in pages and tail, before the call
  std::int64_t tail_id = kNoTail;
  TensorView keys, values;  // new tokens [num_kv_heads, tokens, head_dim], any dtype, rounded once to tail_dtype
  TensorView queries;       // [query_heads, tokens, head_dim]
  OutputView out;           // [query_heads, tokens, head_dim]
  float* lse = nullptr;     // [query_heads, tokens] contiguous, or null
};

class PagedCache {
 public:
  // config.max_pages is not used. Takes no memory but for codec tables, on a GPU also to round rows in.
  // Errors: as KvCache.
  explicit PagedCache(CacheConfig config, Device device = {});
  ~PagedCache();
  PagedCache(const PagedCache&) = delete;
  PagedCache& operator=(const PagedCache&) = delete;

  const CacheConfig& config() const;
  Device device() const;

  // Bytes: of a sealed page of one kv head; of the sinks behind it; of both, what a block keeps for a kv head; of one tail.
  std::int64_t page_bytes(int layer) const;
  std::int64_t sink_bytes() const;
  std::int64_t part_bytes(int layer) const;
  std::int64_t tail_bytes() const;

  // Adds the new tokens of every request to one layer: pages that they fill are sealed into their blocks, the rest stays in the tail.
  // Errors: invalid_argument on memory, shapes, fewer blocks than full pages, a block or tail id that is not there, a tail that two
  // requests would write or a block that two would seal or one has twice, on the host NaN, infinity or overflow of tail_dtype (names the
  // position), and pages of a sketch behind a first one that nobody sealed, before the call or in it. No sealed page and no tail has
  // changed then; blocks of pages that were about to be sealed may have.
  // Cost: one encode per full page and kv head.
  void append(const PagedMemory& memory, std::span<const PagedRequest> requests, Queue queue = {});

  // Attends as attention.hpp says: without keys the queries are those of the request's last tokens; with keys and values, which are
  // the queries' own, exactly to these and to what is stored. Nothing is stored.
  // Errors: invalid_argument as above and on queries and outputs; nothing is written then. The plan is the memory that a call works in.
  void attend(const PagedMemory& memory, std::span<const PagedRequest> requests, const AttendOptions& options, AttendPlan& plan,
              Queue queue = {}) const;

  // Both: attends with the new keys and values beside what is stored, and adds them. What fills is sealed before anyone attends: a
  // page that one request seals may be another's in the same call.
  // Errors: those of append and attend.
  void step(const PagedMemory& memory, std::span<const PagedRequest> requests, const AttendOptions& options, AttendPlan& plan,
            Queue queue = {});

  // As KvCache::wait.
  void wait(Queue queue = {});

  // Codec tables, and on a GPU what rows are rounded in.
  std::int64_t bytes() const;

  struct State;  // the inside, for src/core only

 private:
  std::unique_ptr<State> state_;
};

}  // namespace qjl
