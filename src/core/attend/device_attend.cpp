// An attend on a GPU. The host cuts the work and writes the records that the kernels read; one copy brings them over; a run launches
// kernels alone.
//
//   records = AttendArgs [requests], AttendPiece [pieces], request of each piece, CombineBlock [blocks], page tables
//   results = out [rows, d], max, sum [rows] of each piece
#include <algorithm>
#include <cstring>
#include <vector>

#include "attend_checks.hpp"
#include "attend_plan.hpp"
#include "fail.hpp"

namespace qjl {
namespace {

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

// Rounds every chunk into memory of the plan, by copies that each run makes anew.
void plan_chunks(AttendWork& work) {
  DeviceAttend& d = work.device;
  d.chunk_copies.clear();
  std::int64_t numbers = 0;
  for (const AttendRequest& r : work.requests) numbers += 2 * chunk_numbers(r);
  d.chunk_memory.grow(work.backend(), numbers * static_cast<std::int64_t>(sizeof(std::uint16_t)));
  auto* chunk = reinterpret_cast<std::uint16_t*>(d.chunk_memory.data());
  for (std::size_t i = 0; i < work.requests.size(); ++i) {
    const AttendRequest& r = work.requests[i];
    if (r.chunk_keys.empty()) continue;
    const std::int64_t dim = r.chunk_keys.dim, tokens = r.chunk_keys.tokens;
    std::uint16_t* values = chunk + chunk_numbers(r);
    d.chunk_copies.push_back(chunk_copy(r.chunk_keys, work.config().tail_dtype, chunk));
    d.chunk_copies.push_back(chunk_copy(r.chunk_values, work.config().tail_dtype, values));
    add_rows(work.args[i], {chunk, values, tokens * dim, dim, work.args[i].first_query_position, tokens});
    chunk += 2 * chunk_numbers(r);
  }
}

void plan_pieces(AttendWork& work) {
  const std::int64_t dim = work.config().head_dim;
  const AttendCuts& cuts = work.cuts;
  DeviceAttend& d = work.device;
  d.pieces.clear();
  d.blocks.clear();
  std::int64_t rows = 0;
  for (const std::int32_t block : cuts.block_of_piece) {
    const AttendBlock& b = cuts.blocks[static_cast<std::size_t>(block)];
    rows += std::int64_t{b.num_queries} * b.num_heads;
  }
  d.result_memory.grow(work.backend(), rows * (dim + 2) * static_cast<std::int64_t>(sizeof(float)));
  auto *out = reinterpret_cast<float*>(d.result_memory.data()), *max = out + rows * dim, *sum = max + rows;
  d.batch.max_rows = 0;
  for (std::size_t i = 0; i < cuts.block_of_piece.size(); ++i) {
    const AttendBlock& b = cuts.blocks[static_cast<std::size_t>(cuts.block_of_piece[i])];
    const AttendCuts::Range range = cuts.range(static_cast<std::int64_t>(i));
    d.pieces.push_back(
        {b.kv_head, b.first_head, b.num_heads, b.first_query, b.num_queries, range.begin, range.end, out, max, sum, nullptr});
    const int count = b.num_queries * b.num_heads;
    d.batch.max_rows = std::max(d.batch.max_rows, count);
    out += count * dim;
    max += count;
    sum += count;
  }
  for (const AttendBlock& b : cuts.blocks) {
    const AttendRequest& r = work.requests[static_cast<std::size_t>(b.request)];
    const std::int64_t head = b.kv_head * (r.queries.heads / work.config().num_kv_heads) + b.first_head;
    d.blocks.push_back({b.first_piece, b.num_pieces, b.num_heads, b.num_queries * b.num_heads,
                        r.out.data + head * r.out.head_stride + b.first_query * r.out.token_stride, r.out.head_stride,
                        r.out.token_stride, r.lse == nullptr ? nullptr : r.lse + head * r.out.tokens + b.first_query,
                        r.out.tokens});
  }
}

// Brings the records over, page tables in place.
void send(AttendWork& work, DeviceStream stream) {
  DeviceAttend& d = work.device;
  std::vector<std::int32_t> request_of_piece;
  for (const std::int32_t block : work.cuts.block_of_piece)
    request_of_piece.push_back(work.cuts.blocks[static_cast<std::size_t>(block)].request);
  const std::int32_t* tables = nullptr;
  const auto carve = [&](std::uint8_t* base) {
    DeviceCarver carver(base);
    d.batch.requests = carver.take<AttendArgs>(std::ssize(work.args));
    d.batch.pieces = d.combine.pieces = carver.take<AttendPiece>(std::ssize(d.pieces));
    d.batch.request_of_piece = carver.take<std::int32_t>(std::ssize(d.pieces));
    d.combine.blocks = carver.take<CombineBlock>(std::ssize(d.blocks));
    tables = carver.take<std::int32_t>(std::ssize(work.page_tables));
    return carver.bytes();
  };
  const std::int64_t bytes = carve(nullptr);
  d.record_memory.grow(work.backend(), bytes);
  carve(d.record_memory.data());
  const std::int32_t* table = tables;
  for (AttendArgs& args : work.args) {
    args.pages.page_table = table;
    table += args.pages.count;
  }
  d.records.assign(static_cast<std::size_t>(bytes), 0);
  const auto put = [&](const void* device, const auto& numbers) {
    if (numbers.empty()) return;
    const auto at = static_cast<const std::uint8_t*>(device) - d.record_memory.data();
    std::memcpy(d.records.data() + at, numbers.data(), numbers.size() * sizeof(numbers[0]));
  };
  put(d.batch.requests, work.args);
  put(d.batch.pieces, d.pieces);
  put(d.batch.request_of_piece, request_of_piece);
  put(d.combine.blocks, d.blocks);
  put(tables, work.page_tables);
  work.backend().copy(d.record_memory.data(), d.records.data(), bytes, stream);
}

}  // namespace

std::int64_t DeviceAttend::bytes() const {
  const auto host = pieces.capacity() * sizeof(AttendPiece) + blocks.capacity() * sizeof(CombineBlock) +
                    chunk_copies.capacity() * sizeof(CopyRowsArgs) + records.capacity();
  return static_cast<std::int64_t>(host) + record_memory.bytes() + chunk_memory.bytes() + result_memory.bytes();
}

void plan_on_device(AttendWork& work, DeviceStream stream) {
  DeviceAttend& d = work.device;
  for (const AttendArgs& args : work.args) {
    require(args.first_query_position >= 0, "attend", "found ", args.num_queries, " queries of a sequence of ",
            args.first_query_position + args.num_queries, " tokens on a GPU, wanted no more than those");
  }
  plan_chunks(work);
  work.cuts.make(work.cut_requests, window_of(work.config(), work.layer.index, work.options),
                 work.backend().multiprocessors(work.layer.all->device.index), work.options.cut);
  plan_pieces(work);
  send(work, stream);
  d.batch.tables = &work.layer.tables();
  d.batch.num_pieces = static_cast<std::int32_t>(d.pieces.size());
  d.combine.num_blocks = static_cast<std::int32_t>(d.blocks.size());
  d.combine.max_rows = d.batch.max_rows;
  d.combine.head_dim = work.config().head_dim;
}

void run_on_device(const AttendWork& work, DeviceStream stream) {
  const Backend& backend = work.backend();
  const DeviceAttend& d = work.device;
  for (CopyRowsArgs chunk : d.chunk_copies) {
    chunk.stream = stream;
    backend.copy_rows(chunk);
  }
  if (d.batch.num_pieces == 0) return;
  AttendBatch batch = d.batch;
  CombineBatch combine = d.combine;
  batch.stream = combine.stream = stream;
  backend.attend_batch(batch);
  backend.combine(combine);
}

}  // namespace qjl
