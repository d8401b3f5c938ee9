// A device's table of verbs. Core calls through it and knows nothing else of a device.
// Five verbs, and two more whose reasons are in docs/decisions/cpu.md: decode, because truncating into a sealed page needs its numbers
// back, and attend_chunk, because a prompt's own attention is a product of large matrices.
#pragma once

#include <cstddef>

#include "args.hpp"

namespace qjl {

struct Backend {
  const char* name;
  std::size_t (*encode_workspace_bytes)(const CodecTables&);
  std::size_t (*attend_workspace_bytes)(const CodecTables&);
  void (*encode_keys)(const EncodeArgs&);
  void (*encode_values)(const EncodeArgs&);
  void (*project_query)(const ProjectArgs&);
  void (*score)(const ScoreArgs&);
  void (*attend)(const AttendArgs&, const AttendPiece&);
  void (*decode)(const DecodeArgs&);

  // attend_chunk, null where the processor has no bf16 products. First the tokens [32 block, 32 (block + 1)) of a kv head become
  // pairs, for every block; returns the largest magnitude among them as the bits of an fp32 number. Then pieces: the queries of all
  // heads of a group, at most kMaxChunkRows rows, see the tokens up to their own. A piece's range is that
  // of the chunk; out, max and sum have room for kMaxChunkRows rows, its workspace is chunk_workspace_bytes(head_dim).
  std::size_t (*chunk_workspace_bytes)(int head_dim) = nullptr;
  std::uint32_t (*pack_chunk)(const ChunkArgs&, int kv_head, std::int64_t block) = nullptr;
  void (*attend_chunk)(const ChunkArgs&, const AttendPiece&) = nullptr;
};

}  // namespace qjl
