// What the CUDA back end can launch. The Args are the back end's own; every pointer inside is device memory, also those of the
// CodecTables, whose record itself lies on the host and is handed to the kernel by value.
//
// No call allocates, synchronises or reads the environment; all can be captured in a CUDA graph. A launch that the driver refuses
// throws qjl::Error. Attend and combine take a whole batch of pieces, of any number of sequences: the plan lies in device memory.
//
//   attend    piece i -> (out, max, sum) as AttendPiece says; its workspace is not used
//   combine   pieces of a block, in order -> out / sum and lse                       shared/softmax_state.hpp
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "args.hpp"

namespace qjl::cuda {

struct AttendBatch {
  const CodecTables* tables;             // host record of device pointers
  const AttendArgs* requests;            // device [requests]; their `tables` are not read
  const AttendPiece* pieces;             // device [num_pieces]
  const std::int32_t* request_of_piece;  // device [num_pieces]
  std::int32_t num_pieces;
  std::int32_t max_rows;  // of any piece, at most kMaxAttendRows
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
};

void encode_keys(const EncodeArgs& args, cudaStream_t stream);
void encode_values(const EncodeArgs& args, cudaStream_t stream);
void decode(const DecodeArgs& args, cudaStream_t stream);
void project_query(const ProjectArgs& args, cudaStream_t stream);
void score(const ScoreArgs& args, cudaStream_t stream);
void attend(const AttendBatch& batch, cudaStream_t stream);
void attend(const AttendArgs& args, const AttendPiece& piece, cudaStream_t stream);  // one piece, without a plan in device memory
void combine(const CombineBatch& batch, cudaStream_t stream);

}  // namespace qjl::cuda
