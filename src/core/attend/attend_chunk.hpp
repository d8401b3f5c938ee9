// Chunks that attend to themselves in bf16 (ChunkProducts::bf16), beside what the cached tokens give.
//
//   cached tokens   the plan's pieces, as ever                       -> out, lse
//   the chunk       packed once, pieces of up to kMaxChunkRows rows  -> out, max, sum; merged into the former by log-sum-exp
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend.hpp"
#include "buffer.hpp"
#include "qjl/attention.hpp"

namespace qjl {

// Whether a request's chunk goes this way.
bool attends_chunk_apart(const Backend& backend, const CacheConfig& config, const AttendRequest& request,
                         const AttendOptions& options);

struct ChunkWork {
  struct Chunk {
    std::int32_t request;
    ChunkArgs args;
    std::int64_t first_block, first_piece;  // among those of all chunks
    bool has_cached;                        // out and lse hold what the cached tokens gave
  };
  std::vector<Chunk> chunks;
  std::int64_t num_blocks = 0, num_pieces = 0;
  Buffer pairs, workers;

  void clear() { chunks.clear(), num_blocks = num_pieces = 0; }
  // `args` and the request must stand where they are until the end.
  void add(std::int32_t request, const AttendRequest& r, const AttendArgs& args);
  std::int64_t bytes() const;
};

// Errors: invalid_argument on a number that tail_dtype cannot hold.
void pack_chunks(const Backend& backend, std::span<const AttendRequest> requests, DType tail_dtype, ChunkWork& work,
                 ThreadPool& threads);

// Writes out and lse of the requests; those with cached tokens have an lse.
void attend_chunks(const Backend& backend, std::span<const AttendRequest> requests, ChunkWork& work, ThreadPool& threads);

}  // namespace qjl
