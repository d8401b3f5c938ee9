// CudaAttend: the plan of attend_plan.hpp for a device. The host cuts the work and writes the records that the kernels read; one
// copy brings them over; a run launches kernels alone.
//
//   records = AttendArgs [requests], AttendPiece [pieces], request of each piece, CombineBlock [blocks], page tables
//   results = out [rows, d], max, sum [rows] of each piece
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attend_checks.hpp"
#include "attend_plan.hpp"
#include "cuda_cache_state.hpp"
#include "fail.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

// Numbers of a chunk's keys, or of its values.
std::int64_t chunk_numbers(const AttendRequest& r) {
  return r.chunk_keys.empty() ? 0 : r.chunk_keys.heads * r.chunk_keys.tokens * r.chunk_keys.dim;
}

CopyRowsArgs chunk_copy(const TensorView& rows, DType dtype, std::uint16_t* to) {
  return {.from = rows.data,
          .from_dtype = rows.dtype,
          .from_head_stride = rows.head_stride,
          .from_token_stride = rows.token_stride,
          .to = to,
          .to_dtype = dtype,
          .to_head_stride = rows.tokens * rows.dim,
          .to_token_stride = rows.dim,
          .heads = rows.heads,
          .count = rows.tokens,
          .dim = rows.dim,
          .misfit = nullptr};
}

void check_memory(const CudaCache::State& cache, const AttendRequest& r) {
  cache.check_memory(r.queries.data, {"attend", "queries"});
  cache.check_memory(r.out.data, {"attend", "outputs"});
  cache.check_memory(r.lse, {"attend", "lse"});
  if (r.chunk_keys.empty()) return;
  cache.check_memory(r.chunk_keys.data, {"attend", "chunk_keys"});
  cache.check_memory(r.chunk_values.data, {"attend", "chunk_values"});
}

}  // namespace

struct CudaAttend::State {
  const CudaCache::State* cache = nullptr;
  int layer = 0;
  AttendPlan plan;
  std::vector<PlanRequest> plan_requests;
  std::vector<AttendArgs> args;
  std::vector<AttendPiece> pieces;
  std::vector<CombineBlock> blocks;
  std::vector<std::int32_t> page_tables;
  std::vector<CopyRowsArgs> chunk_copies;
  std::vector<std::uint8_t> records;  // as they are copied
  DeviceMemory record_memory, chunk_memory, result_memory;
  AttendBatch batch{};
  CombineBatch combine{};

  AttendArgs request_args(const AttendRequest& r, const AttendOptions& options, std::uint16_t* chunk);
  void fill_args(std::span<const AttendRequest> requests, const AttendOptions& options);
  void fill_pieces(std::span<const AttendRequest> requests);
  void send(CudaStream stream);
};

// All but the page table, which `send` places.
AttendArgs CudaAttend::State::request_args(const AttendRequest& r, const AttendOptions& options, std::uint16_t* chunk) {
  const CacheConfig& config = cache->config();
  const Sequence& sequence = cache->books.find(r.sequence, "attend");
  const std::int64_t length = sequence.layers[static_cast<std::size_t>(layer)].length, sealed = length / kPage,
                     dim = config.head_dim;
  AttendArgs a{};
  a.row_dtype = config.tail_dtype;
  a.queries = r.queries.data;
  a.query_dtype = r.queries.dtype;
  a.query_head_stride = r.queries.head_stride;
  a.query_token_stride = r.queries.token_stride;
  a.num_query_heads = static_cast<int>(r.queries.heads);
  a.num_kv_heads = config.num_kv_heads;
  a.num_queries = r.queries.tokens;
  a.first_query_position = r.chunk_keys.empty() ? length - r.queries.tokens : length;
  require(a.first_query_position >= 0, "attend", "found ", r.queries.tokens, " queries of a sequence of ", length,
          " tokens, wanted no more than those");
  a.pages = cache->books.pool.sealed(layer, std::span(sequence.pages).first(static_cast<std::size_t>(sealed)));
  a.pages.bodies = cache->body(layer, 0, 0);
  a.pages.heads = cache->head(layer, 0, 0);
  const auto add = [&](const DeviceRows& rows, std::int64_t first, std::int64_t count) {
    if (count > 0) a.exact[a.num_exact++] = {rows.keys, rows.values, rows.head_stride, dim, first, count};
  };
  if (sealed > 0) add(cache->sink_rows(r.sequence, layer), 0, config.codec.sink_tokens);
  add(cache->open_rows(r.sequence, layer), sealed * kPage, length % kPage);
  if (!r.chunk_keys.empty()) {
    const DeviceRows rows{chunk, chunk + chunk_numbers(r), r.chunk_keys.tokens * dim};
    chunk_copies.push_back(chunk_copy(r.chunk_keys, config.tail_dtype, rows.keys));
    chunk_copies.push_back(chunk_copy(r.chunk_values, config.tail_dtype, rows.values));
    add(rows, length, r.chunk_keys.tokens);
  }
  a.softmax_scale = options.softmax_scale != 0.0f ? options.softmax_scale : 1.0f / std::sqrt(static_cast<float>(dim));
  a.logit_soft_cap = options.logit_soft_cap;
  a.sliding_window = window_of(config, layer, options);
  return a;
}

void CudaAttend::State::fill_args(std::span<const AttendRequest> requests, const AttendOptions& options) {
  args.clear();
  plan_requests.clear();
  chunk_copies.clear();
  page_tables.clear();
  std::int64_t numbers = 0;
  for (const AttendRequest& r : requests) numbers += 2 * chunk_numbers(r);
  chunk_memory.grow(cache->backend, numbers * static_cast<std::int64_t>(sizeof(std::uint16_t)));
  auto* chunk = reinterpret_cast<std::uint16_t*>(chunk_memory.data());
  for (const AttendRequest& r : requests) {
    args.push_back(request_args(r, options, chunk));
    chunk += 2 * chunk_numbers(r);
    const AttendArgs& a = args.back();
    page_tables.insert(page_tables.end(), a.pages.page_table, a.pages.page_table + a.pages.count);
    plan_requests.push_back({a.num_queries, a.first_query_position, a.num_kv_heads, a.num_query_heads / a.num_kv_heads});
  }
  plan.make(plan_requests, window_of(cache->config(), layer, options), cache->backend.multiprocessors(cache->device));
}

void CudaAttend::State::fill_pieces(std::span<const AttendRequest> requests) {
  const std::int64_t dim = cache->config().head_dim;
  pieces.clear();
  blocks.clear();
  std::int64_t rows = 0;
  for (const std::int32_t block : plan.block_of_piece) {
    const AttendBlock& b = plan.blocks[static_cast<std::size_t>(block)];
    rows += std::int64_t{b.num_queries} * b.num_heads;
  }
  result_memory.grow(cache->backend, rows * (dim + 2) * static_cast<std::int64_t>(sizeof(float)));
  auto *out = reinterpret_cast<float*>(result_memory.data()), *max = out + rows * dim, *sum = max + rows;
  batch.max_rows = 0;
  for (std::size_t i = 0; i < plan.block_of_piece.size(); ++i) {
    const AttendBlock& b = plan.blocks[static_cast<std::size_t>(plan.block_of_piece[i])];
    const AttendPlan::Range range = plan.range(static_cast<std::int64_t>(i));
    pieces.push_back(
        {b.kv_head, b.first_head, b.num_heads, b.first_query, b.num_queries, range.begin, range.end, out, max, sum, nullptr});
    const int count = b.num_queries * b.num_heads;
    batch.max_rows = std::max(batch.max_rows, count);
    out += count * dim;
    max += count;
    sum += count;
  }
  for (const AttendBlock& b : plan.blocks) {
    const AttendRequest& r = requests[static_cast<std::size_t>(b.request)];
    const std::int64_t head = b.kv_head * (r.queries.heads / cache->config().num_kv_heads) + b.first_head;
    blocks.push_back({b.first_piece, b.num_pieces, b.num_heads, b.num_queries * b.num_heads,
                      r.out.data + head * r.out.head_stride + b.first_query * r.out.token_stride, r.out.head_stride,
                      r.out.token_stride, r.lse == nullptr ? nullptr : r.lse + head * r.out.tokens + b.first_query, r.out.tokens});
  }
}

// Brings the records over, page tables in place.
void CudaAttend::State::send(CudaStream stream) {
  std::vector<std::int32_t> request_of_piece;
  for (const std::int32_t block : plan.block_of_piece)
    request_of_piece.push_back(plan.blocks[static_cast<std::size_t>(block)].request);
  const auto carve = [&](std::uint8_t* base) {
    DeviceCarver carver(base);
    batch.requests = carver.take<AttendArgs>(std::ssize(args));
    batch.pieces = combine.pieces = carver.take<AttendPiece>(std::ssize(pieces));
    batch.request_of_piece = carver.take<std::int32_t>(std::ssize(pieces));
    combine.blocks = carver.take<CombineBlock>(std::ssize(blocks));
    const std::int32_t* tables = carver.take<std::int32_t>(std::ssize(page_tables));
    for (AttendArgs& a : args) {
      if (base == nullptr) break;
      a.pages.page_table = tables;
      tables += a.pages.count;
    }
    return carver.bytes();
  };
  const std::int64_t bytes = carve(nullptr);
  record_memory.grow(cache->backend, bytes);
  carve(record_memory.data());
  records.assign(static_cast<std::size_t>(bytes), 0);
  const auto put = [&](const void* device, const auto& numbers) {
    if (numbers.empty()) return;
    const auto at = static_cast<const std::uint8_t*>(device) - record_memory.data();
    std::memcpy(records.data() + at, numbers.data(), numbers.size() * sizeof(numbers[0]));
  };
  put(batch.requests, args);
  put(batch.pieces, pieces);
  put(batch.request_of_piece, request_of_piece);
  put(combine.blocks, blocks);
  if (!args.empty()) put(args[0].pages.page_table, page_tables);
  cache->backend.copy(record_memory.data(), records.data(), bytes, stream);
}

CudaAttend::CudaAttend() : state_(std::make_unique<State>()) {}
CudaAttend::~CudaAttend() = default;
CudaAttend::CudaAttend(CudaAttend&&) noexcept = default;
CudaAttend& CudaAttend::operator=(CudaAttend&&) noexcept = default;

void CudaAttend::plan(const CudaCache& cache, int layer, std::span<const AttendRequest> requests, const AttendOptions& options,
                      CudaStream stream) {
  State& s = *state_;
  const CudaCache::State& c = cache.state();
  c.books.check_layer(layer, "attend");
  check_options(options);
  for (const AttendRequest& request : requests) {
    c.books.find(request.sequence, "attend");
    check_request(c.config(), request, Device::cuda(c.device));
  }
  const DeviceScope scope(c.backend, c.device);
  for (const AttendRequest& r : requests) check_memory(c, r);
  s.cache = nullptr;  // no plan while this one is made
  State made;
  std::swap(made, s);
  made.cache = &c;
  made.layer = layer;
  made.fill_args(requests, options);
  made.fill_pieces(requests);
  made.send(stream);
  made.batch.tables = &c.device_tables(layer);
  made.batch.num_pieces = static_cast<std::int32_t>(made.pieces.size());
  made.combine.num_blocks = static_cast<std::int32_t>(made.blocks.size());
  made.combine.max_rows = made.batch.max_rows;
  made.combine.head_dim = c.config().head_dim;
  std::swap(made, s);
}

void CudaAttend::run(CudaStream stream) {
  const State& s = *state_;
  require(s.cache != nullptr, "attend", "found no plan, wanted one made by plan()");
  const DeviceScope scope(s.cache->backend, s.cache->device);
  for (CopyRowsArgs chunk : s.chunk_copies) {
    chunk.stream = stream;
    s.cache->backend.copy_rows(chunk);
  }
  if (s.batch.num_pieces == 0) return;
  AttendBatch batch = s.batch;
  CombineBatch combine = s.combine;
  batch.stream = combine.stream = stream;
  s.cache->backend.attend_batch(batch);
  s.cache->backend.combine(combine);
}

}  // namespace qjl
