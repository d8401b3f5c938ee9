// attend: softmax attention of new queries over a cached sequence and, exactly, over the tokens that are being added.
//
//   s[t] = cap(softmax_scale * <q, k_t>),  cap(x) = logit_soft_cap * tanh(x / logit_soft_cap), or x when logit_soft_cap = 0
//   out  = sum_t softmax(s)[t] v_t,        lse = log sum_t exp(s[t])                           (natural logarithm)
//
// t runs over the positions p <= position of the query, and p > position - w with a window w: sliding_window, or the layer's own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "qjl/cache.hpp"

namespace qjl {

// Queries of one sequence. Without a chunk the queries belong to the last `tokens` cached tokens. With one, chunk_keys and
// chunk_values [num_kv_heads, tokens, head_dim] are the queries' own tokens, not yet appended: they follow the cached ones, are
// rounded to tail_dtype (but see ChunkProducts) and attended to exactly and causally. Append them after the call.
struct AttendRequest {
  SequenceId sequence{};
  TensorView queries;     // [query_heads, tokens, head_dim]; query_heads is a multiple of num_kv_heads
  TensorView chunk_keys;  // empty, or as above
  TensorView chunk_values;
  OutputView out;        // [query_heads, tokens, head_dim]
  float* lse = nullptr;  // [query_heads, tokens] contiguous, or null. An empty range gives out 0 and lse -infinity
};

inline constexpr std::int64_t kNoWindow = std::int64_t{1} << 40;  // longer than any sequence

// How queries meet a chunk: in fp32, its numbers rounded to tail_dtype; or, where the processor has the instruction
// (has_bf16_products) and head_dim is a multiple of 32, in products of numbers rounded to bf16 with sums in fp32, several times as
// fast for many tokens.
enum class ChunkProducts : std::uint8_t { fp32, bf16 };

// What an attend's cuts are made from, and with them the order in which numbers add up: all requests of a call, so that threads
// have equal shares; or each request by itself, whose result then has the same bits alone and in company.
enum class AttendCut : std::uint8_t { together, by_request };

struct AttendOptions {
  float softmax_scale = 0.0f;       // usually 1 / sqrt(head_dim); 0 means that
  float logit_soft_cap = 0.0f;      // 0: none
  std::int64_t sliding_window = 0;  // 0: the layer's (CacheConfig::layer_windows); kNoWindow: none, whatever the layer's
  ChunkProducts chunk_products = ChunkProducts::fp32;
  std::int64_t chunk_products_from = 1;  // chunks of fewer tokens than these go in fp32 all the same
  AttendCut cut = AttendCut::together;
};

// One attend in two steps, with the memory that it works in: the plan cuts the work and, on a GPU, copies the cuts there; the run
// is the work, on a GPU kernels alone, so that a CUDA graph may hold it and be launched again while the plan stands: until one of
// its sequences changes in that layer. Grows on first use, is reused after. One per concurrent caller.
class AttendPlan {
 public:
  AttendPlan();
  ~AttendPlan();
  AttendPlan(AttendPlan&&) noexcept;
  AttendPlan& operator=(AttendPlan&&) noexcept;

  // For many sequences at once in one layer, cut over (sequence, kv head, query block, page range); for a fixed number of threads
  // the result is the same bit for bit. The cache and the tensors must live as long as the plan is run.
  // Errors: invalid_argument on shapes, memory of another device, an unknown sequence or layer, and on a GPU on queries before
  // position 0. On a GPU it waits when it must grow.
  void make(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            Queue queue = {});

  // Cost: reads every page in range once per block of queries. Errors: invalid_argument without a plan, when a sequence has
  // changed since, and on the host NaN or infinity in queries and chunks; nothing is written then.
  void run(Queue queue = {});

  std::int64_t bytes() const;  // host and device memory

  struct State;  // the inside, for src/core only
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Makes the plan and runs it.
void attend(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            AttendPlan& plan, Queue queue = {});

}  // namespace qjl
