// An attend on the host: stages new chunks as 16-bit rows, runs the pieces on the back end, merges them.
//
//   piece  -> (out, max, sum), out = sum_t exp(s_t - max) v_t       from the back end
//   merge  -> m = max of maxima, everything scaled by exp(max - m)  shared/softmax_state.hpp, in the order of positions
//   result -> out / sum, lse = m + ln(sum)
#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "attend_checks.hpp"
#include "attend_plan.hpp"
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

// A chunk is read where it is when both tensors have the cache's format and the same strides; else it is rounded into scratch.
bool readable_in_place(const AttendRequest& r, DType tail) {
  const TensorView &k = r.chunk_keys, &v = r.chunk_values;
  return k.dtype == tail && v.dtype == tail && k.head_stride == v.head_stride && k.token_stride == v.token_stride;
}

std::int64_t chunk_numbers(const AttendRequest& r, DType tail) {
  return r.chunk_keys.empty() || readable_in_place(r, tail) ? 0 : 2 * r.chunk_keys.heads * r.chunk_keys.tokens * r.chunk_keys.dim;
}

// Where the chunk's rows are read: in place, or in `staging`, which stage_chunk fills.
ExactRows chunk_rows(const AttendRequest& r, DType tail, std::int64_t first_position, std::uint16_t* staging) {
  const TensorView &k = r.chunk_keys, &v = r.chunk_values;
  if (readable_in_place(r, tail)) {
    return {reinterpret_cast<const std::uint16_t*>(k.data),
            reinterpret_cast<const std::uint16_t*>(v.data),
            k.head_stride,
            k.token_stride,
            first_position,
            k.tokens};
  }
  const std::int64_t head_stride = k.tokens * k.dim;
  return {staging, staging + k.heads * head_stride, head_stride, k.dim, first_position, k.tokens};
}

void stage_chunk(const AttendRequest& r, DType tail, std::uint16_t* staging, ThreadPool& threads) {
  const TensorView &k = r.chunk_keys, &v = r.chunk_values;
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
}

bool is_apart(const AttendWork& work, const AttendRequest& r) {
  return attends_chunk_apart(work.backend(), work.config(), r, work.options);
}
std::int64_t staged_numbers(const AttendWork& work, const AttendRequest& r) {
  return is_apart(work, r) ? 0 : chunk_numbers(r, work.config().tail_dtype);
}
std::uint16_t* staging_of(const AttendWork& work) { return reinterpret_cast<std::uint16_t*>(work.host.chunks.data()); }

// One run: everything that its steps share.
struct Call {
  AttendWork& work;
  std::span<const AttendRequest> requests;
  ThreadPool& threads;

  bool is_apart(std::size_t request) const { return qjl::is_apart(work, requests[request]); }
};

// Chunks apart are checked as they are packed.
void check_request_numbers(const Call& call, const AttendRequest& r) {
  check_numbers(r.queries, DType::f32, {"attend", "queries"}, call.threads);
  if (r.chunk_keys.empty() || is_apart(call.work, r)) return;
  check_numbers(r.chunk_keys, call.work.config().tail_dtype, {"attend", "chunk_keys"}, call.threads);
  check_numbers(r.chunk_values, call.work.config().tail_dtype, {"attend", "chunk_values"}, call.threads);
}

void stage_chunks(const Call& call) {
  std::uint16_t* staging = staging_of(call.work);
  for (const AttendRequest& r : call.requests) {
    const std::int64_t numbers = staged_numbers(call.work, r);
    if (numbers > 0) stage_chunk(r, call.work.config().tail_dtype, staging, call.threads);
    staging += numbers;
  }
}

// Makes the list of chunks apart and packs them. A request whose cached tokens come first needs an lse to merge with.
void prepare_apart(Call& call) {
  HostAttend& w = call.work.host;
  const std::vector<AttendArgs>& args = call.work.args;
  w.apart.clear();
  if (std::ranges::none_of(call.requests, [&](const AttendRequest& r) { return is_apart(call.work, r); })) return;
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (!call.is_apart(i)) continue;
    w.apart.add(static_cast<std::int32_t>(i), call.requests[i], args[i]);
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
  pack_chunks(call.work.backend(), call.requests, call.work.config().tail_dtype, w.apart, call.threads);
}

// The first queries of a request that may stand in no block: those before position 0, which belong to no token; and those beside
// their chunk, when a window may hide every cached token from them.
std::int64_t unplanned_queries(const Call& call, std::size_t request) {
  const AttendArgs& args = call.work.args[request];
  const bool hides = args.sliding_window > 0 && args.first_query_position > 0 && call.is_apart(request);
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
  const std::int64_t group = r.queries.heads / call.work.config().num_kv_heads;
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
  const std::int64_t dim = call.work.config().head_dim, result_bytes = partial_bytes(dim);
  const std::int64_t first_slot = call.work.cuts.slot_of_piece[static_cast<std::size_t>(block.first_piece)];
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
  AttendCuts& cuts = call.work.cuts;
  const std::int64_t dim = call.work.config().head_dim, result_bytes = partial_bytes(dim);
  const auto kernel_bytes = static_cast<std::int64_t>(call.work.backend().attend_workspace_bytes(call.work.layer.tables()));
  const std::int64_t worker_bytes = result_bytes + layout::round_up(kernel_bytes, layout::kLineBytes);
  std::uint8_t* workers = call.work.host.workers.at_least(worker_bytes * call.threads.num_threads());
  std::uint8_t* partials = call.work.host.partials.at_least(result_bytes * cuts.num_slots);
  for (std::size_t i = 0; i < cuts.blocks.size(); ++i) cuts.pieces_left[i] = static_cast<std::int32_t>(cuts.blocks[i].num_pieces);
  call.threads.run(static_cast<std::int64_t>(cuts.block_of_piece.size()), [&](std::int64_t item, int worker) {
    const auto piece = static_cast<std::size_t>(item);
    const auto block_idx = static_cast<std::size_t>(cuts.block_of_piece[piece]);
    const AttendBlock& block = cuts.blocks[block_idx];
    const AttendCuts::Range range = cuts.range(item);
    std::uint8_t* scratch = workers + worker * worker_bytes;
    const std::int64_t slot = cuts.slot_of_piece[piece];
    const Partial result = partial_at(slot < 0 ? scratch : partials + slot * result_bytes, dim);
    call.work.backend().attend(call.work.args[static_cast<std::size_t>(block.request)], {.kv_head = block.kv_head,
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
    const bool last = std::atomic_ref(cuts.pieces_left[block_idx]).fetch_sub(1, std::memory_order_acq_rel) == 1;
    if (last) merge_pieces(call, block, partials);
  });
}

}  // namespace

std::int64_t HostAttend::bytes() const {
  const auto copies = requests.capacity() * sizeof(AttendRequest) + lse.capacity() * sizeof(float);
  return static_cast<std::int64_t>(copies) + chunks.bytes() + workers.bytes() + partials.bytes() + apart.bytes();
}

void plan_on_host(AttendWork& work, int num_threads) {
  const CacheConfig& config = work.config();
  std::int64_t numbers = 0;
  for (const AttendRequest& r : work.requests) numbers += staged_numbers(work, r);
  work.host.chunks.at_least(numbers * static_cast<std::int64_t>(sizeof(std::uint16_t)));
  std::uint16_t* staging = staging_of(work);
  for (std::size_t i = 0; i < work.requests.size(); ++i) {
    const AttendRequest& r = work.requests[i];
    AttendArgs& args = work.args[i];
    if (is_apart(work, r))
      work.cut_requests[i].end_position = args.first_query_position;
    else if (!r.chunk_keys.empty())
      add_rows(args, chunk_rows(r, config.tail_dtype, args.first_query_position, staging));
    staging += staged_numbers(work, r);
  }
  work.cuts.make(work.cut_requests, window_of(config, work.layer.index, work.options), num_threads, work.options.cut);
}

void run_on_host(AttendWork& work, ThreadPool& threads) {
  Call call{work, work.requests, threads};
  for (const AttendRequest& request : work.requests) check_request_numbers(call, request);
  stage_chunks(call);
  prepare_apart(call);
  for (std::size_t i = 0; i < work.requests.size(); ++i) clear_unplanned(call.requests[i], unplanned_queries(call, i));
  run_pieces(call);
  attend_chunks(work.backend(), call.requests, work.host.apart, threads);
}

}  // namespace qjl
