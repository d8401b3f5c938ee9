// A device's table: its verbs and its memory. Core calls through it and knows nothing else of a device; what a device lacks is
// null. Five verbs, and two more whose reasons are in docs/decisions/cpu.md: decode, because truncating into a sealed page needs
// its numbers back, and attend_chunk, because a prompt's own attention is a product of large matrices.
//
// The verbs of a CPU work before they return, in scratch memory that the caller brings. Those of a GPU put the work on the stream
// of their arguments: they do not allocate or wait, and in the order of one stream each sees what those before it wrote. Their
// errors: unsupported, with the driver's words.
#pragma once

#include <cstddef>

#include "batch.hpp"

namespace qjl {

inline constexpr int kHostMemory = -1, kAnyDevice = -2;  // holder: no device reads it; all do (pinned or managed memory)

struct Backend {
  const char* name = "";
  void (*encode_keys)(const EncodeArgs&) = nullptr;
  void (*encode_values)(const EncodeArgs&) = nullptr;
  void (*project_query)(const ProjectArgs&) = nullptr;
  void (*score)(const ScoreArgs&) = nullptr;
  void (*decode)(const DecodeArgs&) = nullptr;

  // Attend on the CPU takes a piece, on a GPU the pieces of many requests, whose results it combines itself.
  void (*attend)(const AttendArgs&, const AttendPiece&) = nullptr;
  void (*attend_batch)(const AttendBatch&) = nullptr;
  void (*combine)(const CombineBatch&) = nullptr;

  // The CPU's scratch memory.
  std::size_t (*encode_workspace_bytes)(const CodecTables&) = nullptr;
  std::size_t (*attend_workspace_bytes)(const CodecTables&) = nullptr;

  // attend_chunk, where the processor has bf16 products. First the tokens [32 block, 32 (block + 1)) of a kv head become
  // pairs, for every block; returns the largest magnitude among them as the bits of an fp32 number. Then pieces: the queries of all
  // heads of a group, at most kMaxChunkRows rows, see the tokens up to their own. A piece's range is that
  // of the chunk; out, max and sum have room for kMaxChunkRows rows, its workspace is chunk_workspace_bytes(head_dim).
  std::size_t (*chunk_workspace_bytes)(int head_dim) = nullptr;
  std::uint32_t (*pack_chunk)(const ChunkArgs&, int kv_head, std::int64_t block) = nullptr;
  void (*attend_chunk)(const ChunkArgs&, const AttendPiece&) = nullptr;

  // A GPU's rows on their way into pages.
  void (*copy_rows)(const CopyRowsArgs&) = nullptr;
  void (*place_pages)(const PlacePagesArgs&) = nullptr;

  // A GPU's memory. The host's is core's own.
  int (*select)(int device) = nullptr;  // for this thread's calls from here on; returns the one before
  int (*multiprocessors)(int device) = nullptr;
  int (*holder)(const void*) = nullptr;  // the device whose memory that is, or one of the two above; looks it up, waits for nothing
  void (*pin)(void*,
              std::int64_t bytes) = nullptr;  // host memory, for copies that run while the host goes on; from and to any device
  void (*unpin)(void*) = nullptr;
  void* (*allocate)(std::int64_t bytes) = nullptr;
  void (*release)(void*) = nullptr;  // null is nothing; waits for the device
  void (*copy)(void* to, const void* from, std::int64_t bytes,
               DeviceStream) = nullptr;  // host or device; host memory at rest is read at once
  void (*clear)(void*, std::int64_t bytes, DeviceStream) = nullptr;
  void (*wait)(DeviceStream) = nullptr;
};

}  // namespace qjl
