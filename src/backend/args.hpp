// The arguments of the verbs: the same structs for every device. Plain pointers; nothing here owns memory. For a GPU every pointer
// inside is device memory, also those of the CodecTables, whose record itself lies on the host.
#pragma once

#include <cstdint>

#include "page.hpp"
#include "qjl/types.hpp"

namespace qjl {

// What a GPU puts the work on: cudaStream_t, null for the device's default stream. The CPU works before a verb returns.
using DeviceStream = void*;

// The random constants of one codec, all made from its seed (src/core/codec/codec_tables.cpp gives the Philox streams).
// Frames: head_dim a power of two: P_f = H D1_f H D2 / head_dim with H the +-1 Hadamard matrix (Sylvester order) and diagonal
// signs; otherwise a dense orthonormal matrix. "in" is D2, applied first and shared; "mid" is D1_f.
struct CodecTables {
  layout::PageShape shape;
  bool hadamard;                    // which of the two kinds of frame
  const float* key_sign_in;         // [d], +-1
  const float* key_sign_mid;        // [frames of the key code][d]
  const float* value_sign_in;       // [d]
  const float* value_sign_mid;      // [8 * frames of the value code][d]; frame of token t, part s: (t mod 8) * parts + s
  const float* key_frames;          // dense: [frames][d][d], row i is row i of P_f
  const std::int16_t* key_cross;    // dense, s2 keys: round(512 P_1 P_2^T) [d][d]
  const float* value_frames;        // dense: [8 * parts][d][d]
  const std::int16_t* value_cross;  // dense, s2 values: [8][d][d], round(512 P_{t,1} P_{t,2}^T)
  const float* sketch;              // jl: S [m][d], rows of norm sqrt(d) on average; constant in sketch_scale
  const float* outlier_sketch;      // jl: S_o [m_o][n_out]
  float sketch_scale;               // estimate = sketch_scale * |k_in| * <S q_in, sign(S k_in)>; unbiased for the kind of S
  float outlier_sketch_scale;
  // The page mean and RoPE (page.hpp). Order of the mean's channels: the first of each turning pair, the second of each, the still
  // ones, and last, beyond mean_channels, those without a mean.
  const std::uint8_t* mean_order;  // [d]
  int turning_pairs;
  int mean_channels;
  const float* knot_cos;  // [turning_pairs][kKnotStride], zero beyond knot 16
  const float* knot_sin;
  const float* early_knots;  // [turning_pairs][8][2]: cosine and sine of knots 0 .. 7, the rest follow by symmetry
};

// Encodes `count` pages of one layer; a page is [128, head_dim] rows of 16-bit numbers in token order.
// Slots of the first num_sinks[i] tokens get code scale 0 and do not enter the mean.
// jl: when choose_outliers is 0 the channel list already stands in the body (copied from the sequence's first page) and is used;
// else the n_out channels of largest energy over the page are chosen and written.
struct EncodeArgs {
  const CodecTables* tables;
  DType row_dtype;
  std::int64_t count;
  const std::uint16_t* const* rows;     // [count]
  std::int64_t token_stride;            // elements between tokens of a page
  const std::uint8_t* num_sinks;        // [count]
  const std::uint8_t* choose_outliers;  // [count]
  std::uint8_t* const* bodies;          // [count], 64-byte aligned
  layout::PageHead* const* heads;       // [count]; encode_keys fills its own fields, encode_values its own
  std::uint8_t* workspace;              // encode_workspace_bytes(tables)
  DeviceStream stream = nullptr;
};

// Rows that are attended to exactly: [kv_heads, count, head_dim] of 16-bit numbers at positions first_position ...
struct ExactRows {
  const std::uint16_t* keys;
  const std::uint16_t* values;
  std::int64_t head_stride;   // elements
  std::int64_t token_stride;  // elements
  std::int64_t first_position;
  std::int64_t count;
};

// Where a layer's sealed pages of one sequence are: body of (kv head h, page i) =
// bodies + h * body_head_stride + page_table[i] * body_page_stride (bytes); heads likewise, counted in PageHead.
struct SealedPages {
  const std::uint8_t* bodies;
  std::int64_t body_head_stride;
  std::int64_t body_page_stride;
  const layout::PageHead* heads;
  std::int64_t head_head_stride;
  std::int64_t head_page_stride;
  const std::int32_t* page_table;
  std::int64_t count;
};

inline constexpr int kMaxExactSegments = 3;  // sinks, open tail, new chunk

struct AttendArgs {
  const CodecTables* tables;
  DType row_dtype;      // of exact rows
  const void* queries;  // [query_heads, num_queries, head_dim]
  DType query_dtype;
  std::int64_t query_head_stride;   // elements
  std::int64_t query_token_stride;  // elements
  int num_query_heads;
  int num_kv_heads;
  std::int64_t num_queries;
  std::int64_t first_query_position;  // query i stands at first_query_position + i
  SealedPages pages;                  // page i covers positions 128 i ...
  ExactRows exact[kMaxExactSegments];
  int num_exact;
  float softmax_scale;
  float logit_soft_cap;         // 0: none
  std::int64_t sliding_window;  // 0: none
};

// A piece of an attend: the queries [first_query, first_query + num_queries) of the query heads
// kv_head * group + first_head_in_group + [0, num_heads_in_group), group = num_query_heads / num_kv_heads, against the positions
// [first_position, end_position). Starts fall on multiples of 128, ends too but for the last. rows = num_queries *
// num_heads_in_group, row = query * num_heads_in_group + head, at most kMaxAttendRows (a larger group is cut into several pieces).
// Every query of a piece stands at a position >= 0. Results are not normalised: out = sum exp(s - max) v, so that pieces merge.
inline constexpr int kMaxAttendRows = 32;
struct AttendPiece {
  int kv_head;
  int first_head_in_group;
  int num_heads_in_group;
  std::int64_t first_query;
  int num_queries;
  std::int64_t first_position;
  std::int64_t end_position;
  float* out;               // [rows, head_dim]
  float* max;               // [rows], natural units of the logits; -infinity when nothing is in range
  float* sum;               // [rows]
  std::uint8_t* workspace;  // attend_workspace_bytes(tables)
};

// New tokens that attend to each other in products of bf16 (docs/decisions/cpu.md says why that is a verb of its own): those from
// first_query_position on, as many as queries. `attend` has the queries, scale, cap and window; keys and values are read where they
// are, once.
inline constexpr int kMaxChunkRows = 96, kChunkBlockTokens = 32;
struct ChunkRows {
  const void* data;  // [kv_heads, tokens, head_dim]
  DType dtype;
  std::int64_t head_stride, token_stride;  // elements
};
struct ChunkArgs {
  const AttendArgs* attend;
  ChunkRows keys, values;
  std::uint32_t *key_pairs, *value_pairs;  // [kv_heads][num_queries rounded up to kChunkBlockTokens][head_dim / 2] each
};
inline bool can_attend_chunk(int head_dim, int group) { return head_dim % 32 == 0 && group <= kMaxChunkRows; }

// Rotates or sketches queries: [rows, head_dim] fp32 contiguous -> [rows, key_coordinates]. outlier_idx for jl, else null.
struct ProjectArgs {
  const CodecTables* tables;
  const float* queries;
  int rows;
  const std::uint8_t* outlier_idx;  // [n_out]
  float* projected;
  DeviceStream stream = nullptr;
};

// Scores of one page in slot order: out[row * 128 + slot] estimates <q_row, k_slot>. queries and projected as in ProjectArgs.
struct ScoreArgs {
  const CodecTables* tables;
  const float* queries;
  const float* projected;
  int rows;
  const layout::PageHead* head;
  const std::uint8_t* body;
  float* out;
  std::uint8_t* workspace;  // attend_workspace_bytes(tables)
  DeviceStream stream = nullptr;
};

// Decodes one page to fp32 rows in token order: keys, values [128, head_dim]; either may be null.
struct DecodeArgs {
  const CodecTables* tables;
  const layout::PageHead* head;
  const std::uint8_t* body;
  float* keys;
  float* values;
  std::uint8_t* workspace;  // attend_workspace_bytes(tables)
  DeviceStream stream = nullptr;
};

}  // namespace qjl
