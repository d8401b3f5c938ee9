// What the CUDA back end can launch. The Args are the back end's own (batch.hpp); records on the host are handed to
// kernels by value.
//
// No call allocates, synchronises or reads the environment; all can be captured in a CUDA graph. A launch that the driver refuses
// throws qjl::Error. Attend and combine take a whole batch of pieces, of any number of sequences: the plan lies in device memory.
//
//   attend    piece i -> (out, max, sum) as AttendPiece says; its workspace is not used
//   combine   pieces of a block, in order -> out / sum and lse                       shared/softmax_state.hpp
#pragma once

#include <cuda_runtime_api.h>

#include "batch.hpp"

namespace qjl::cuda {

void copy_rows(const CopyRowsArgs& args);
void place_pages(const PlacePagesArgs& args);
void encode_keys(const EncodeArgs& args);
void encode_values(const EncodeArgs& args);
void decode(const DecodeArgs& args);
void project_query(const ProjectArgs& args);
void score(const ScoreArgs& args);
void attend(const AttendBatch& batch);
void attend(const AttendArgs& args, const AttendPiece& piece, cudaStream_t stream);  // one piece, without a plan in device memory
void combine(const CombineBatch& batch);

}  // namespace qjl::cuda
