// Shares out the blocks and pieces of all chunks of a call. See attend_chunk.hpp.
#include "attend_chunk.hpp"

#include <algorithm>
#include <atomic>

#include "rows.hpp"
#include "softmax_state.hpp"

namespace qjl {
namespace {

std::int64_t blocks_of(const ChunkArgs& chunk) { return (chunk.attend->num_queries + kChunkBlockTokens - 1) / kChunkBlockTokens; }
std::int64_t group_of(const AttendArgs& args) { return args.num_query_heads / args.num_kv_heads; }
std::int64_t queries_per_piece(const AttendArgs& args) { return kMaxChunkRows / group_of(args); }
std::int64_t stretches_of(const AttendArgs& args) {
  return (args.num_queries + queries_per_piece(args) - 1) / queries_per_piece(args);
}
// 32-bit words of a side's pairs.
std::int64_t words_of(const ChunkArgs& chunk) {
  return chunk.attend->num_kv_heads * blocks_of(chunk) * kChunkBlockTokens / 2 * chunk.attend->tables->shape.head_dim;
}

// The chunk that an item of all falls to; first is where its items begin.
const ChunkWork::Chunk& chunk_of(const ChunkWork& work, std::int64_t item, std::int64_t ChunkWork::Chunk::* first) {
  return *std::prev(std::ranges::upper_bound(work.chunks, item, {}, first));
}

// Results of a piece into the outputs: row = query * group + head.
void finish(const ChunkWork::Chunk& chunk, const AttendRequest& r, const AttendPiece& piece) {
  const std::int64_t group = group_of(*chunk.args.attend);
  for (std::int64_t row = 0; row < piece.num_queries * group; ++row) {
    const std::int64_t query = piece.first_query + row / group, head = piece.kv_head * group + row % group;
    const float* in = piece.out + row * r.out.dim;
    float* out = r.out.data + head * r.out.head_stride + query * r.out.token_stride;
    float* lse = r.lse == nullptr ? nullptr : r.lse + head * r.out.tokens + query;
    SoftmaxState state{piece.max[row], piece.sum[row]};
    if (chunk.has_cached) {
      SoftmaxState both{*lse, 1.0f};
      merge(both, out, state, in, static_cast<int>(r.out.dim));
      state = both;
      in = out;
    }
    const float scale = 1.0f / state.sum;  // a query sees itself
    for (std::int64_t c = 0; c < r.out.dim; ++c) out[c] = in[c] * scale;
    if (lse != nullptr) *lse = log_sum_exp(state);
  }
}

}  // namespace

bool attends_chunk_apart(const Backend& backend, const CacheConfig& config, const AttendRequest& request,
                         const AttendOptions& options) {
  return options.chunk_products == ChunkProducts::bf16 && backend.attend_chunk != nullptr && !request.chunk_keys.empty() &&
         request.queries.tokens >= options.chunk_products_from &&
         can_attend_chunk(config.head_dim, static_cast<int>(request.queries.heads / config.num_kv_heads));
}

void ChunkWork::add(std::int32_t request, const AttendRequest& r, const AttendArgs& args) {
  const auto rows = [](const TensorView& view) { return ChunkRows{view.data, view.dtype, view.head_stride, view.token_stride}; };
  const ChunkArgs chunk{&args, rows(r.chunk_keys), rows(r.chunk_values), nullptr, nullptr};
  chunks.push_back({request, chunk, num_blocks, num_pieces, args.first_query_position > 0});
  num_blocks += args.num_kv_heads * blocks_of(chunk);
  num_pieces += args.num_kv_heads * stretches_of(args);
}

std::int64_t ChunkWork::bytes() const {
  return static_cast<std::int64_t>(chunks.capacity() * sizeof(Chunk)) + pairs.bytes() + workers.bytes();
}

void pack_chunks(const Backend& backend, std::span<const AttendRequest> requests, DType tail_dtype, ChunkWork& work,
                 ThreadPool& threads) {
  std::int64_t words = 0;
  for (const ChunkWork::Chunk& chunk : work.chunks) words += 2 * words_of(chunk.args);
  auto* pairs = reinterpret_cast<std::uint32_t*>(work.pairs.at_least(words * static_cast<std::int64_t>(sizeof(std::uint32_t))));
  for (ChunkWork::Chunk& chunk : work.chunks) {
    chunk.args.key_pairs = pairs;
    chunk.args.value_pairs = pairs + words_of(chunk.args);
    pairs += 2 * words_of(chunk.args);
  }
  std::atomic<bool> fits{true};
  const std::uint32_t refused = refused_from(tail_dtype);
  threads.run(work.num_blocks, [&](std::int64_t item, int) {
    const ChunkWork::Chunk& chunk = chunk_of(work, item, &ChunkWork::Chunk::first_block);
    const std::int64_t i = item - chunk.first_block, blocks = blocks_of(chunk.args);
    if (backend.pack_chunk(chunk.args, static_cast<int>(i / blocks), i % blocks) >= refused) fits = false;
  });
  if (fits) return;
  for (const ChunkWork::Chunk& chunk : work.chunks) {  // finds it again, and says where it is
    const AttendRequest& r = requests[static_cast<std::size_t>(chunk.request)];
    check_numbers(r.chunk_keys, tail_dtype, {"attend", "chunk_keys"}, threads);
    check_numbers(r.chunk_values, tail_dtype, {"attend", "chunk_values"}, threads);
  }
}

void attend_chunks(const Backend& backend, std::span<const AttendRequest> requests, ChunkWork& work, ThreadPool& threads) {
  if (work.chunks.empty()) return;
  const std::int64_t dim = work.chunks.front().args.attend->tables->shape.head_dim, floats = kMaxChunkRows * (dim + 2);
  const std::int64_t result_bytes = layout::round_up(floats * static_cast<std::int64_t>(sizeof(float)), layout::kLineBytes);
  const auto kernel_bytes = static_cast<std::int64_t>(backend.chunk_workspace_bytes(static_cast<int>(dim)));
  const std::int64_t worker_bytes = result_bytes + layout::round_up(kernel_bytes, layout::kLineBytes);
  std::uint8_t* workers = work.workers.at_least(worker_bytes * threads.num_threads());
  threads.run(work.num_pieces, [&](std::int64_t item, int worker) {
    const ChunkWork::Chunk& chunk = chunk_of(work, item, &ChunkWork::Chunk::first_piece);
    const AttendArgs& args = *chunk.args.attend;
    const std::int64_t i = item - chunk.first_piece, per_piece = queries_per_piece(args);
    std::uint8_t* memory = workers + worker * worker_bytes;
    auto* out = reinterpret_cast<float*>(memory);
    AttendPiece piece{};
    piece.kv_head = static_cast<int>(i % args.num_kv_heads);
    piece.num_heads_in_group = static_cast<int>(group_of(args));
    piece.first_query = (stretches_of(args) - 1 - i / args.num_kv_heads) * per_piece;  // the longest first
    piece.num_queries = static_cast<int>(std::min(per_piece, args.num_queries - piece.first_query));
    piece.first_position = args.first_query_position;
    piece.end_position = args.first_query_position + args.num_queries;
    piece.out = out;
    piece.max = out + kMaxChunkRows * dim;
    piece.sum = piece.max + kMaxChunkRows;
    piece.workspace = memory + result_bytes;
    backend.attend_chunk(chunk.args, piece);
    finish(chunk, requests[static_cast<std::size_t>(chunk.request)], piece);
  });
}

}  // namespace qjl
