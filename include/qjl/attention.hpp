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

struct AttendOptions {
  float softmax_scale = 0.0f;       // usually 1 / sqrt(head_dim); 0 means that
  float logit_soft_cap = 0.0f;      // 0: none
  std::int64_t sliding_window = 0;  // 0: the layer's (CacheConfig::layer_windows); kNoWindow: none, whatever the layer's
  ChunkProducts chunk_products = ChunkProducts::fp32;
};

// Scratch memory of attend(): grows on first use, is reused after. One per concurrent caller.
class AttendWorkspace {
 public:
  AttendWorkspace();
  ~AttendWorkspace();
  AttendWorkspace(AttendWorkspace&&) noexcept;
  AttendWorkspace& operator=(AttendWorkspace&&) noexcept;
  struct State;
  State& state() { return *state_; }
  std::int64_t bytes() const;

 private:
  std::unique_ptr<State> state_;
};

// Attends in one layer for many sequences at once. Work is split over (sequence, kv head, query block, page range); for a fixed
// number of threads the result is the same bit for bit. Cost: reads every page in range once per block of queries.
// Errors: invalid_argument on shapes, an unknown sequence or layer, NaN in the queries.
void attend(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            AttendWorkspace& workspace, ThreadPool& threads);

}  // namespace qjl
