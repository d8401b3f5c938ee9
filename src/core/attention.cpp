// The attend door: checks a call once, stages new chunks as 16-bit rows, runs the plan's pieces on the back end, merges them.
//
//   piece  -> (out, max, sum), out = sum_t exp(s_t - max) v_t       from the back end
//   merge  -> m = max of maxima, everything scaled by exp(max - m)  shared/softmax_state.hpp, in the order of positions
//   result -> out / sum, lse = m + ln(sum)
#include "qjl/attention.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "attend_checks.hpp"
#include "attend_chunk.hpp"
#include "attend_plan.hpp"
#include "buffer.hpp"
#include "cache_state.hpp"
#include "fail.hpp"
#include "rows.hpp"
#include "softmax_state.hpp"

namespace qjl {
namespace {

// Where a piece puts its result: out [kMaxAttendRows, head_dim], max and sum [kMaxAttendRows].
struct Partial {
  float *out, *max, *sum;
};
std::int64_t partial_bytes(std::int64_t head_dim) {
  return layout::round_up(kMaxAttendRows * (head_dim + 2) * static_cast<std::int64_t>(sizeof(float)), layout::kLineBytes);
}
Partial partial_at(std::uint8_t* memory, std::int64_t head_dim) {
  auto* out = reinterpret_cast<float*>(memory);
  float* max = out + kMaxAttendRows * head_dim;
  return {out, max, max + kMaxAttendRows};
}

}  // namespace

struct AttendWorkspace::State {
  AttendPlan plan;
  std::vector<PlanRequest> plan_requests;
  std::vector<AttendArgs> args;  // [requests]
  Buffer chunks, workers, partials;
  ChunkWork apart;
  std::vector<AttendRequest> requests;  // of a call with chunks apart: with an lse where one is needed
  std::vector<float> lse;
};

AttendWorkspace::AttendWorkspace() : state_(std::make_unique<State>()) {}
AttendWorkspace::~AttendWorkspace() = default;
AttendWorkspace::AttendWorkspace(AttendWorkspace&&) noexcept = default;
AttendWorkspace& AttendWorkspace::operator=(AttendWorkspace&&) noexcept = default;

std::int64_t AttendWorkspace::bytes() const {
  const State& s = *state_;
  const auto tables = s.plan_requests.capacity() * sizeof(PlanRequest) + s.args.capacity() * sizeof(AttendArgs);
  const auto apart = s.requests.capacity() * sizeof(AttendRequest) + s.lse.capacity() * sizeof(float);
  return s.plan.bytes() + static_cast<std::int64_t>(tables + apart) + s.chunks.bytes() + s.workers.bytes() + s.partials.bytes() +
         s.apart.bytes();
}

namespace {

// A chunk is read where it is when both tensors have the cache's format and the same strides; else it is rounded into scratch.
bool readable_in_place(const AttendRequest& r, DType tail) {
  const TensorView &k = r.chunk_keys, &v = r.chunk_values;
  return k.dtype == tail && v.dtype == tail && k.head_stride == v.head_stride && k.token_stride == v.token_stride;
}

std::int64_t chunk_numbers(const AttendRequest& r, DType tail) {
  return r.chunk_keys.empty() || readable_in_place(r, tail) ? 0 : 2 * r.chunk_keys.heads * r.chunk_keys.tokens * r.chunk_keys.dim;
}

ExactRows chunk_rows(const AttendRequest& r, DType tail, std::int64_t first_position, std::uint16_t* staging, ThreadPool& threads) {
  const TensorView &k = r.chunk_keys, &v = r.chunk_values;
  if (readable_in_place(r, tail)) {
    return {reinterpret_cast<const std::uint16_t*>(k.data),
            reinterpret_cast<const std::uint16_t*>(v.data),
            k.head_stride,
            k.token_stride,
            first_position,
            k.tokens};
  }
  const std::int64_t head_stride = k.tokens * k.dim, blocks = (k.tokens + layout::kPageTokens - 1) / layout::kPageTokens;
  std::uint16_t* values = staging + k.heads * head_stride;
  const auto stage = [&](std::int64_t item, int) {
    const std::int64_t head = item / blocks, first = item % blocks * layout::kPageTokens;
    const std::int64_t count = std::min<std::int64_t>(layout::kPageTokens, k.tokens - first);
    round_rows(k, head, first, count, tail, staging + head * head_stride + first * k.dim);
    round_rows(v, head, first, count, tail, values + head * head_stride + first * k.dim);
  };
  if (blocks > 1) {
    threads.run(k.heads * blocks, stage);
  } else {
    for (std::int64_t head = 0; head < k.heads; ++head) stage(head, 0);
  }
  return {staging, values, head_stride, k.dim, first_position, k.tokens};
}

// One call: everything that its steps share.
struct Call {
  const KvCache::State& cache;
  int layer;
  std::span<const AttendRequest> requests;
  const AttendOptions& options;
  AttendWorkspace::State& work;
  ThreadPool& threads;

  bool is_apart(const AttendRequest& r) const { return attends_chunk_apart(cache.backend, cache.config, r, options); }
  std::int64_t staged_numbers(const AttendRequest& r) const { return is_apart(r) ? 0 : chunk_numbers(r, cache.config.tail_dtype); }
};

// Chunks apart are checked as they are packed.
void check_request_numbers(const Call& call, const AttendRequest& r) {
  check_numbers(r.queries, DType::f32, {"attend", "queries"}, call.threads);
  if (r.chunk_keys.empty() || call.is_apart(r)) return;
  check_numbers(r.chunk_keys, call.cache.config.tail_dtype, {"attend", "chunk_keys"}, call.threads);
  check_numbers(r.chunk_values, call.cache.config.tail_dtype, {"attend", "chunk_values"}, call.threads);
}

AttendArgs request_args(const Call& call, const AttendRequest& r, std::uint16_t* staging) {
  const CacheConfig& config = call.cache.config;
  const Sequence& sequence = call.cache.find(r.sequence, "attend");
  const Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(call.layer)];
  const std::int64_t sealed = layer.length / layout::kPageTokens, open = layer.length % layout::kPageTokens;
  AttendArgs args{};
  args.tables = &call.cache.tables(call.layer);
  args.row_dtype = config.tail_dtype;
  args.queries = r.queries.data;
  args.query_dtype = r.queries.dtype;
  args.query_head_stride = r.queries.head_stride;
  args.query_token_stride = r.queries.token_stride;
  args.num_query_heads = static_cast<int>(r.queries.heads);
  args.num_kv_heads = config.num_kv_heads;
  args.num_queries = r.queries.tokens;
  args.first_query_position = r.chunk_keys.empty() ? layer.length - r.queries.tokens : layer.length;
  args.pages = call.cache.pool.sealed(call.layer, std::span(sequence.pages).first(static_cast<std::size_t>(sealed)));
  const auto add = [&](const RowBlock& block, std::int64_t first_position, std::int64_t count) {
    args.exact[args.num_exact++] = {block.keys(0, 0), block.values(0, 0), block.head_stride(),
                                    config.head_dim,  first_position,     count};
  };
  if (layer.sinks) add(*layer.sinks, 0, config.codec.sink_tokens);
  if (open > 0) add(*layer.tail, sealed * layout::kPageTokens, open);
  if (!r.chunk_keys.empty() && !call.is_apart(r))
    args.exact[args.num_exact++] = chunk_rows(r, config.tail_dtype, layer.length, staging, call.threads);
  const float scale = call.options.softmax_scale;
  args.softmax_scale = scale != 0.0f ? scale : 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  args.logit_soft_cap = call.options.logit_soft_cap;
  args.sliding_window = window_of(config, call.layer, call.options);
  return args;
}

void prepare(const Call& call) {
  const CacheConfig& config = call.cache.config;
  AttendWorkspace::State& w = call.work;
  w.args.clear();
  w.plan_requests.clear();
  std::int64_t numbers = 0;
  for (const AttendRequest& r : call.requests) numbers += call.staged_numbers(r);
  auto* staging = reinterpret_cast<std::uint16_t*>(w.chunks.at_least(numbers * static_cast<std::int64_t>(sizeof(std::uint16_t))));
  for (const AttendRequest& r : call.requests) {
    w.args.push_back(request_args(call, r, staging));
    staging += call.staged_numbers(r);
    const AttendArgs& args = w.args.back();
    w.plan_requests.push_back(
        {args.num_queries, args.first_query_position, config.num_kv_heads, args.num_query_heads / config.num_kv_heads});
    if (call.is_apart(r)) w.plan_requests.back().end_position = args.first_query_position;
  }
  w.plan.make(w.plan_requests, window_of(config, call.layer, call.options), call.threads.num_threads());
}

// Makes the list of chunks apart and packs them. A request whose cached tokens come first needs an lse to merge with.
void prepare_apart(Call& call) {
  AttendWorkspace::State& w = call.work;
  w.apart.clear();
  if (std::ranges::none_of(call.requests, [&](const AttendRequest& r) { return call.is_apart(r); })) return;
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < w.args.size(); ++i) {
    if (!call.is_apart(call.requests[i])) continue;
    w.apart.add(static_cast<std::int32_t>(i), call.requests[i], w.args[i]);
    rows += call.requests[i].out.heads * call.requests[i].out.tokens;
  }
  w.lse.resize(static_cast<std::size_t>(rows));
  w.requests.assign(call.requests.begin(), call.requests.end());
  float* lse = w.lse.data();
  for (const ChunkWork::Chunk& chunk : w.apart.chunks) {
    AttendRequest& r = w.requests[static_cast<std::size_t>(chunk.request)];
    if (!chunk.has_cached || r.lse != nullptr) continue;
    r.lse = lse;
    lse += r.out.heads * r.out.tokens;
  }
  call.requests = w.requests;
  pack_chunks(call.cache.backend, call.requests, call.cache.config.tail_dtype, w.apart, call.threads);
}

// The first queries of a request that may stand in no block: those before position 0, which belong to no token; and those beside
// their chunk, when a window may hide every cached token from them.
std::int64_t unplanned_queries(const Call& call, std::size_t request) {
  const AttendArgs& args = call.work.args[request];
  const bool hides = args.sliding_window > 0 && args.first_query_position > 0 && call.is_apart(call.requests[request]);
  return hides ? args.num_queries : -args.first_query_position;
}

// They see nothing: out 0, lse -infinity.
void clear_unplanned(const AttendRequest& r, std::int64_t count) {
  for (std::int64_t head = 0; head < r.out.heads; ++head) {
    for (std::int64_t query = 0; query < std::min(count, r.out.tokens); ++query) {
      std::fill_n(r.out.data + head * r.out.head_stride + query * r.out.token_stride, r.out.dim, 0.0f);
      if (r.lse != nullptr) r.lse[head * r.out.tokens + query] = -std::numeric_limits<float>::infinity();
    }
  }
}

void finish(const Call& call, const AttendBlock& block, const Partial& partial) {
  const AttendRequest& r = call.requests[static_cast<std::size_t>(block.request)];
  const std::int64_t group = r.queries.heads / call.cache.config.num_kv_heads;
  for (std::int64_t row = 0; row < std::int64_t{block.num_queries} * block.num_heads; ++row) {
    const std::int64_t query = block.first_query + row / block.num_heads;
    const std::int64_t head = block.kv_head * group + block.first_head + row % block.num_heads;
    const SoftmaxState state{partial.max[row], partial.sum[row]};
    const float scale = state.empty() ? 0.0f : 1.0f / state.sum;
    const float* in = partial.out + row * r.out.dim;
    float* out = r.out.data + head * r.out.head_stride + query * r.out.token_stride;
    for (std::int64_t c = 0; c < r.out.dim; ++c) out[c] = in[c] * scale;
    if (r.lse != nullptr) r.lse[head * r.out.tokens + query] = log_sum_exp(state);
  }
}

// Into the first piece's result, in the order of positions.
void merge_pieces(const Call& call, const AttendBlock& block, std::uint8_t* partials) {
  const std::int64_t dim = call.cache.config.head_dim, result_bytes = partial_bytes(dim);
  const std::int64_t first_slot = call.work.plan.slot_of_piece[static_cast<std::size_t>(block.first_piece)];
  const Partial sum = partial_at(partials + first_slot * result_bytes, dim);
  for (std::int64_t i = 1; i < block.num_pieces; ++i) {
    const Partial next = partial_at(partials + (first_slot + i) * result_bytes, dim);
    for (std::int64_t row = 0; row < std::int64_t{block.num_queries} * block.num_heads; ++row) {
      SoftmaxState state{sum.max[row], sum.sum[row]};
      merge(state, sum.out + row * dim, {next.max[row], next.sum[row]}, next.out + row * dim, static_cast<int>(dim));
      sum.max[row] = state.max;
      sum.sum[row] = state.sum;
    }
  }
  finish(call, block, sum);
}

// Who ends the last piece of a block merges it: a second round of the threads would cost more than the merge.
void run_pieces(const Call& call) {
  AttendPlan& plan = call.work.plan;
  const std::int64_t dim = call.cache.config.head_dim, result_bytes = partial_bytes(dim);
  const auto kernel_bytes = static_cast<std::int64_t>(call.cache.backend.attend_workspace_bytes(call.cache.tables(call.layer)));
  const std::int64_t worker_bytes = result_bytes + layout::round_up(kernel_bytes, layout::kLineBytes);
  std::uint8_t* workers = call.work.workers.at_least(worker_bytes * call.threads.num_threads());
  std::uint8_t* partials = call.work.partials.at_least(result_bytes * plan.num_slots);
  call.threads.run(static_cast<std::int64_t>(plan.block_of_piece.size()), [&](std::int64_t item, int worker) {
    const auto piece = static_cast<std::size_t>(item);
    const auto block_idx = static_cast<std::size_t>(plan.block_of_piece[piece]);
    const AttendBlock& block = plan.blocks[block_idx];
    const AttendPlan::Range range = plan.range(item);
    std::uint8_t* scratch = workers + worker * worker_bytes;
    const std::int64_t slot = plan.slot_of_piece[piece];
    const Partial result = partial_at(slot < 0 ? scratch : partials + slot * result_bytes, dim);
    call.cache.backend.attend(call.work.args[static_cast<std::size_t>(block.request)], {.kv_head = block.kv_head,
                                                                                        .first_head_in_group = block.first_head,
                                                                                        .num_heads_in_group = block.num_heads,
                                                                                        .first_query = block.first_query,
                                                                                        .num_queries = block.num_queries,
                                                                                        .first_position = range.begin,
                                                                                        .end_position = range.end,
                                                                                        .out = result.out,
                                                                                        .max = result.max,
                                                                                        .sum = result.sum,
                                                                                        .workspace = scratch + result_bytes});
    if (slot < 0) return finish(call, block, result);
    const bool last = std::atomic_ref(plan.pieces_left[block_idx]).fetch_sub(1, std::memory_order_acq_rel) == 1;
    if (last) merge_pieces(call, block, partials);
  });
}

}  // namespace

void attend(const KvCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
            AttendWorkspace& workspace, ThreadPool& threads) {
  const KvCache::State& state = cache.state();
  state.check_layer(layer, "attend");
  check_options(options);
  Call call{state, layer, requests, options, workspace.state(), threads};
  for (const AttendRequest& request : requests) {
    state.find(request.sequence, "attend");
    check_request(state.config, request, Device::cpu());
    check_request_numbers(call, request);
  }
  prepare(call);
  prepare_apart(call);
  for (std::size_t i = 0; i < requests.size(); ++i) clear_unplanned(call.requests[i], unplanned_queries(call, i));
  run_pieces(call);
  attend_chunks(state.backend, call.requests, call.work.apart, threads);
}

}  // namespace qjl
