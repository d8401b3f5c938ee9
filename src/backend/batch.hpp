// What a GPU's verbs take: whole batches, since a launch is dear, and rows that move on the device. The plans lie in device memory.
#pragma once

#include "args.hpp"

namespace qjl {

// Attend takes a whole batch of pieces, of any number of sequences: the plan lies in device memory.
struct AttendBatch {
  const CodecTables* tables;             // host record of device pointers
  const AttendArgs* requests;            // device [requests]; their `tables` are not read
  const AttendPiece* pieces;             // device [num_pieces]
  const std::int32_t* request_of_piece;  // device [num_pieces]
  std::int32_t num_pieces;
  std::int32_t max_rows;  // of any piece, at most kMaxAttendRows
  DeviceStream stream = nullptr;
};

// A block's result: its pieces stand side by side in the plan, in the order of positions. Row = query * num_heads + head goes to
// out + head * out_head_stride + query * out_token_stride (numbers) and lse + head * lse_head_stride + query; lse may be null.
struct CombineBlock {
  std::int64_t first_piece;
  std::int32_t num_pieces;
  std::int32_t num_heads;
  std::int32_t rows;
  float* out;
  std::int64_t out_head_stride;
  std::int64_t out_token_stride;
  float* lse;
  std::int64_t lse_head_stride;
};
struct CombineBatch {
  const AttendPiece* pieces;   // device
  const CombineBlock* blocks;  // device [num_blocks]
  std::int32_t num_blocks;
  std::int32_t max_rows;  // of any block, at most kMaxAttendRows
  std::int32_t head_dim;
  DeviceStream stream = nullptr;
};

// to[head][token][c] = the number of from[head][token][c] in the 16-bit format; strides count numbers. A number that is not finite
// there sets *misfit, when that is not null. Decoded numbers may lie a little outside what f16 holds: with `saturates` those become
// its largest.
struct CopyRowsArgs {
  const void* from;
  DType from_dtype;
  std::int64_t from_head_stride, from_token_stride;
  std::uint16_t* to;
  DType to_dtype;
  std::int64_t to_head_stride, to_token_stride;
  std::int64_t heads, count, dim;
  bool saturates = false;
  std::int32_t* misfit;
  DeviceStream stream = nullptr;
};

// Fills the device arrays of EncodeArgs for `count` pages of all kv heads, item = page * num_kv_heads + kv_head, and copies the
// channel list of the sequence's first page (jl) into pages that come after it.
inline constexpr int kMaxPlacedPages = 32;
struct PlacePagesArgs {
  std::int32_t page[kMaxPlacedPages];
  std::int32_t first_page;  // of the sequence
  std::int32_t count, num_kv_heads;
  bool starts;             // page[0] is the sequence's first page
  std::uint8_t num_sinks;  // of that page
  std::uint8_t* bodies;
  std::int64_t body_head_stride, body_page_stride;  // bytes
  layout::PageHead* heads;
  std::int64_t head_head_stride, head_page_stride;
  const std::uint16_t *keys, *values;  // [kv_heads, count * 128, head_dim]
  std::int64_t row_head_stride, row_page_stride;
  std::int64_t outlier_idx, outlier_bytes;  // of a body; 0 bytes: none
  const std::uint16_t **key_rows, **value_rows;
  std::uint8_t **body_at, *sinks_at, *choose_at;
  layout::PageHead** head_at;
  DeviceStream stream = nullptr;
};

}  // namespace qjl
